"""Guard whole spans: hostile values, faults in each part, and content that leaves no trace."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from somatrace.context.span_state import DECLARED_MARK, SpanState, attach_state
from somatrace.context.tags import Scalar, Tags
from somatrace.delivery.encoding import encode
from somatrace.guard import ContentFilter, Guard, attribute_names, content_filter, verdict_cache
from somatrace.guard import guard as guard_module
from somatrace.guard.detection.engine import ALL
from somatrace.guard.detection.prefilter import Prefilter
from somatrace.guard.policy.model import Grant, PolicyEntry
from somatrace.guard.redaction import redact
from somatrace.guard.redaction.redact import detectors, find
from somatrace.pipeline.guarded_copy import SpanCopier
from tests.guard.detection.corpus import EXACT

KEY = "sk-proj-" + "Ab1" * 16
#: A scope of the program itself: its module lies outside installed distributions.
PROGRAM = __name__
MODES = ("none", "redacted", "full")


class Faults:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def guard_with(mode: str, faults: Callable[[], None] = lambda: None) -> Guard:
    return Guard(faults, resolve=lambda tenant: Grant(mode) if tenant else Grant("none"))  # type: ignore[arg-type]


def copier(mode: str, faults: Callable[[], None] = lambda: None) -> SpanCopier:
    guard = guard_with(mode, faults)
    return SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)


def made(
    attributes: Mapping[str, Any],
    *,
    name: str = "work",
    event: Mapping[str, Any] | None = None,
    description: str = "failed",
    scope: str = "app",
    declared: frozenset[str] = frozenset(),
    tags: Mapping[str, Scalar] | None = None,
) -> ReadableSpan:
    """An ended span of tenant acme, or with these tags; its attributes are exactly as given, without the
    SDK's conversions."""
    context = SpanContext(1, 2, False, TraceFlags(1), TraceState([("vendor", "x")]))
    span = ReadableSpan(
        name=name,
        context=context,
        parent=context,
        resource=Resource({"service.name": "svc"}),
        attributes=attributes,
        events=[Event("happened", event or {}, 5)],
        links=[Link(context, dict(event or {}))],
        status=Status(StatusCode.ERROR, description),
        start_time=1,
        end_time=9,
        instrumentation_scope=InstrumentationScope(scope, "1"),
    )
    state = SpanState(
        Tags({"tenant_id": "acme", "agent_id": "a", "workflow_name": "w", **(tags or {})}), None
    )
    state.declared = {key: value for key, value in attributes.items() if key in declared}
    attach_state(span, state)
    return span


def checked_tags(tags: Mapping[str, Scalar]) -> Tags:
    guard = Guard()
    return guard.tags(Tags(tags), guard.content_filter("acme"))


class Raises:
    """An object that answers every protocol falsely."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__

    def __len__(self) -> int:
        raise ZeroDivisionError

    def __iter__(self) -> Iterator[Any]:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


class LyingText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return KEY

    def __len__(self) -> int:
        raise ZeroDivisionError

    def encode(self, *_: object) -> bytes:
        return KEY.encode()


class LyingList(list[Any]):
    def __len__(self) -> int:
        raise ZeroDivisionError

    def __iter__(self) -> Iterator[Any]:
        raise ZeroDivisionError

    def __getitem__(self, key: Any) -> Any:
        raise ZeroDivisionError


class LyingNumber(int):
    def __repr__(self) -> str:
        return KEY

    __str__ = __repr__


def cyclic() -> dict[str, Any]:
    made: dict[str, Any] = {"text": "a"}
    made["self"] = made
    return made


def deep() -> list[Any]:
    found: list[Any] = ["leaf"]
    for _ in range(5000):
        found = [found]
    return found


HOSTILE: dict[str, Any] = {
    "object": Raises(),
    "lying text": LyingText("stop"),
    "lying list": LyingList(["a"]),
    "lying number": LyingNumber(7),
    "cyclic": cyclic(),
    "deep": deep(),
    "bytes": KEY.encode(),
    "huge text": "word " * 200_000,
    "huge list": ["word"] * 100_000,
    "huge number": 10**400,
    "not a number": float("nan"),
    "infinite": float("-inf"),
    "surrogates": "a\ud800b\udfff",
    "null": "a\x00b",
    "none": None,
    "complex": 1j,
    "function": len,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_drops_at_most_itself(value: Any, mode: str) -> None:
    attributes = {
        "gen_ai.request.model": "gpt-4o",
        "app.value": value,
        "gen_ai.response.finish_reasons": value,
    }

    copy = copier(mode).copy(made(attributes, event={"app.value": value}))

    assert copy.attributes is not None
    assert copy.attributes["gen_ai.request.model"] == "gpt-4o"
    assert copy.attributes["tenant_id"] == "acme"
    sent = encode([copy])
    assert b"gpt-4o" in sent
    assert KEY.encode() not in sent


class NumberThatFails(int):
    """An int whose methods must not be called: they could take any time."""

    def _fail(self, *_: object) -> Any:
        raise ZeroDivisionError

    __int__ = __index__ = __float__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = __trunc__ = _fail
    __str__ = __repr__ = __format__ = __bool__ = _fail


@pytest.mark.parametrize("mode", MODES)
def test_numbers_are_judged_without_their_own_methods_and_within_64_bits(mode: str) -> None:
    faults = Faults()
    given = {"app.value": NumberThatFails(7), "app.large": NumberThatFails(2**40), "app.password": 10**5000}

    attributes, removed = (
        guard_with(mode, faults)
        .content_filter("acme")
        .attributes({**given, "app.huge": 10**5000, "app.values": [10**5000, NumberThatFails(3), 10**5000]})
    )

    assert attributes["app.value"] == 7
    assert "app.huge" not in attributes
    assert str(10**4000) not in repr((attributes.get("app.values"), removed))
    assert faults.count == 0


texts = st.text(st.characters(codec=None), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    attributes=st.dictionaries(texts, values, max_size=6),
    event=st.dictionaries(texts, values, max_size=4),
    name=texts,
    description=texts,
    scope=texts,
)
def test_every_span_arrives_regardless_of_its_contents(
    *, mode: str, attributes: dict[str, Any], event: dict[str, Any], name: str, description: str, scope: str
) -> None:
    faults = Faults()
    span = made(attributes, event=event, name=name, description=description, scope=scope)

    copy = copier(mode, faults).copy(span)

    assert encode([copy])
    assert (copy.attributes or {})["tenant_id"] == "acme"
    assert faults.count == 0


CARRIERS: dict[str, Callable[[str], ReadableSpan]] = {
    "safe key": lambda text: made({"gen_ai.response.id": text, "gen_ai.tool.name": text, "error.type": text}),
    "unknown key": lambda text: made({"app.text": text}),
    "declared": lambda text: made({"stage": text}, declared=frozenset({"stage"})),
    "vector": lambda text: made({"app.vector": [ord(letter) / 1000 for letter in text or " "]}),
    "numbers of tokens": lambda text: made({"gen_ai.prompt.tokens": [ord(letter) for letter in text or " "]}),
    "list": lambda text: made({"gen_ai.response.finish_reasons": [text, text]}),
    "map": lambda text: made({"app.map": {"a": [text], text: 1}}),
    "key of a text": lambda text: made({text: "a"}),
    "key of a number": lambda text: made({text: 1}),
    "name": lambda text: made({}, name=text),
    "description": lambda text: made({}, description=text),
    "event": lambda text: made({}, event={"app.text": text, text: True}),
    "declared event": lambda text: made({}, event={"somatrace.declared": DECLARED_MARK, "app.text": text}),
    "scope": lambda text: made({}, scope=text),
    "content": lambda text: made({"gen_ai.input.messages": json.dumps([{"content": text}])}),
}


@settings(max_examples=200, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    carrier=st.sampled_from(sorted(CARRIERS)),
    before=st.sampled_from(["", "x ", "see ", "a=", "\n", '"']),
    after=st.sampled_from(["", " y", ", z", "\n", '"']),
)
def test_secrets_survive_in_no_part_of_a_span(mode: str, carrier: str, before: str, after: str) -> None:
    sent = encode([copier(mode).copy(CARRIERS[carrier](f"{before}{KEY}{after}"))])

    assert KEY.encode() not in sent
    assert KEY.encode()[12:40] not in sent


WITHOUT_A_TRACE = ["unknown key", "content", "description", "vector", "numbers of tokens"]


@settings(max_examples=100, deadline=None)
@given(one=texts, other=texts, carrier=st.sampled_from(WITHOUT_A_TRACE))
def test_without_content_spans_do_not_depend_on_it(one: str, other: str, carrier: str) -> None:
    def sent(text: str) -> bytes:
        copy = copier("none").copy(CARRIERS[carrier](text))
        attributes = dict(copy.attributes or {})
        noted = json.loads(attributes.pop("somatrace.guard.removed", "[]"))
        assert [set(note) for note in noted] == [{"key", "length", "rule"}] * len(noted)
        copy._attributes = attributes  # except for the lengths
        return encode([copy])

    assert sent(one) == sent(other)


# -- faults ------------------------------------------------------------------------------------------------


def broken(*_: object, **__: object) -> Any:
    raise ZeroDivisionError(KEY)


FULL_SPAN = {
    "gen_ai.request.model": "gpt-4o-unseen",
    "app.text": f"words {KEY}",
    "app.card": 4111111111111111,
    "app.unseen": 7,
    "a secret": "text",
}

PARTS = (
    (content_filter, "find"),
    (verdict_cache, "find"),
    (verdict_cache, "fits"),
    (content_filter, "redact_text"),
    (verdict_cache, "redact_text"),
    (content_filter, "looks_like_identifier"),
    (guard_module, "looks_like_identifier"),
    (content_filter, "length_of"),
    (content_filter, "_plain"),
    (guard_module, "_tame"),
    (content_filter, "utf8_safe"),
    (verdict_cache, "utf8_safe"),
    (attribute_names, "find"),
    (attribute_names, "redact_text"),
    (attribute_names, "shape_of"),
    (attribute_names, "is_measure"),
    (attribute_names, "meaning"),
    (attribute_names.AttributeNames, "key"),
    (attribute_names.AttributeNames, "name"),
    (attribute_names.KeyVerdict, "marker"),
    (verdict_cache.VerdictCache, "fits"),
    (verdict_cache.VerdictCache, "declared"),
    (Guard, "tracestate"),
    (Guard, "_tag"),
    (Guard, "tags"),
    (Guard, "resource"),
    (ContentFilter, "attributes"),
    (ContentFilter, "event"),
    (ContentFilter, "status"),
    (ContentFilter, "text"),
    (ContentFilter, "_closed"),
    (ContentFilter, "_open"),
    (ContentFilter, "_number"),
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("where", "part"), PARTS, ids=[f"{where.__name__}.{part}" for where, part in PARTS])
def test_a_fault_in_any_part_of_the_guard_leaks_nothing_and_keeps_the_span(
    where: Any, part: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, part, broken)
    span = made(FULL_SPAN, name="work", event={"exception.message": KEY}, declared=frozenset({"app.text"}))

    copy = copier(mode).copy(span)

    assert KEY.encode() not in encode([copy])
    assert copy.context is not None
    assert copy.context.span_id == 2


def test_a_note_names_the_rule_that_removed_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def rules() -> list[tuple[str, str]]:
        attributes = copier("none").copy(made({"gen_ai.prompt.0.content": "words of a person"})).attributes
        noted = json.loads(str((attributes or {})["somatrace.guard.removed"]))
        return [(item["key"], item["rule"]) for item in noted]

    assert rules() == [("gen_ai.prompt.0.content", "policy none")]
    monkeypatch.setattr(ContentFilter, "_closed", broken)
    assert rules() == [("gen_ai.prompt.0.content", "fault")]


def test_faults_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    monkeypatch.setattr(ContentFilter, "_closed", broken)

    copier("none", faults).copy(made({"gen_ai.request.model": "gpt-4o", "error.type": "E"}))

    assert faults.count == 2


@pytest.mark.parametrize("detector", detectors(), ids=lambda one: f"{one.types[0]}-{one.view}")
def test_a_fault_in_a_detector_drops_the_value_and_keeps_the_span(
    detector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = detector.stems[0]
    anchor = stem.decode() if isinstance(stem, bytes) else stem
    table = tuple(
        type(one)(one.types, one.category, one.about, one.view, one.stems, broken) if one is detector else one
        for one in detectors()
    )
    monkeypatch.setattr(redact, "detectors", lambda categories=ALL: table)
    text = f"private {anchor.replace('A0', 'x')} {'A' * 20} 0000000000000 (000) 000 AA00 +0 .0. 0:0 A:0"

    for mode in MODES:
        copy = copier(mode).copy(made({"app.text": text, "number": 7}, declared=frozenset({"app.text"})))
        assert b"private" not in encode([copy])
        assert (copy.attributes or {})["number"] == 7


# -- names, keys, numbers ----------------------------------------------------------------------------------


def test_a_program_that_uses_prompts_as_names_is_cut_off() -> None:
    one = copier("none")

    names = {one.copy(made({}, name=f"tell {number}", scope=PROGRAM)).name for number in range(1000)}

    assert len(names) == 201
    assert f"{PROGRAM}.span" in names


@pytest.mark.parametrize("prompt", ["Tell Ada about order {}", "Adaさんの注文番号{}を教えてください"])
def test_a_program_that_uses_short_prompts_as_names_is_cut_off_early(prompt: str) -> None:
    one = copier("none")

    names = {one.copy(made({}, name=prompt.format(number), scope=PROGRAM)).name for number in range(100)}

    assert len(names) == attribute_names.MAX_WORDY_PER_SCOPE + 1
    assert one.copy(made({}, name="plan the answer", scope=PROGRAM)).name == "plan the answer"


def test_scopes_made_of_content_get_no_separate_name_limits() -> None:
    one = copier("none")

    names = {
        one.copy(made({}, name=f"tell {number}", scope=f"scope {number}")).name for number in range(2000)
    }

    assert len(names) <= 401


def test_keys_made_of_content_are_cut_off() -> None:
    one = copier("none")
    keys: set[str] = set()
    for number in range(5000):
        keys |= set(one.copy(made({f"word{number}": 1, "gen_ai.usage.input_tokens": 2})).attributes or {})

    assert len([key for key in keys if key.startswith("word")]) <= attribute_names.MAX_KEYS
    assert "gen_ai.usage.input_tokens" in keys


@pytest.mark.parametrize(
    "value", [4111111111111111, 4111111111111111.0, [4111111111111111], {"a": 4111111111111111}], ids=str
)
@pytest.mark.parametrize("key", ["app.value", "app.count", "duration_ms", "gen_ai.usage.input_tokens"])
@pytest.mark.parametrize("mode", ["none", "redacted"])
def test_card_numbers_do_not_leave_as_numbers(value: Any, key: str, mode: str) -> None:
    assert "4111111111111111" not in repr(dict(copier(mode).copy(made({key: value})).attributes or {}))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "key", ["password", "db.password", "http.request.header.authorization", "x.api_key", "secret"]
)
def test_a_value_under_a_secret_key_is_a_secret(key: str, mode: str) -> None:
    for value in ("hunter2", ["hunter2"], {"deep": {key: "hunter2"}}):
        copy = copier(mode).copy(made({key: value}, event={key: value}, declared=frozenset({key})))
        assert b"hunter2" not in encode([copy])


@pytest.mark.parametrize("value", ["the stage", ("the stage", "b")], ids=["text", "tuple"])
def test_a_value_declared_by_one_span_is_not_safe_in_another(value: Any) -> None:
    one = copier("none")
    one.copy(made({"stage": value}, declared=frozenset({"stage"})))

    assert "stage" not in (one.copy(made({"stage": value})).attributes or {})


@pytest.mark.parametrize("value", ["the stage", ("the stage", "b")], ids=["text", "tuple"])
def test_a_tenants_safe_key_is_not_safe_for_another_tenant(value: Any) -> None:
    grants = {"acme": Grant("none", ("stage",)), "globex": Grant("none")}
    guard = Guard(resolve=lambda tenant: grants[tenant or "globex"])

    assert "stage" in guard.content_filter("acme").attributes({"stage": value})[0]
    assert "stage" not in guard.content_filter("globex").attributes({"stage": value})[0]


def test_nanosecond_timestamps_are_not_cards() -> None:
    copy = copier("none").copy(made({"request.timestamp": 1_795_235_593_382_153_138}))

    assert (copy.attributes or {})["request.timestamp"] == 1_795_235_593_382_153_138


def test_resource_attributes_keep_words_and_lose_secrets() -> None:
    said = {
        "service.name": "svc",
        "team": "ada",
        "db.password": "hunter2",
        "dsn": "postgresql://app:hunter2@db/x",
        "keys": (KEY, "b"),
        KEY: "x",
        "process.command_args": ("--password", "hunter2"),
    }

    kept = Guard().resource(said)

    assert kept["service.name"] == "svc"
    assert kept["team"] == "ada"
    assert "hunter2" not in repr(kept)
    assert KEY not in repr(kept)


def test_tags_are_scanned_before_listeners_read_them() -> None:
    tags = checked_tags({"user_id": "ada@example.com", "job_id": 12345678901, "card": 4111111111111111})

    assert dict(tags) == {"user_id": "[EMAIL]", "job_id": 12345678901, "card": "[CARD]"}


# -- threads, processes, and guarding twice -----------------------------------------------------------------


def test_eight_threads_get_the_same_result_as_one() -> None:
    one = copier("redacted")
    spans = [made({"app.text": f"{number} {KEY}", f"k{number}": number}) for number in range(100)]
    expected = [encode([copier("redacted").copy(span)]) for span in spans]
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(n for n, span in enumerate(spans) if encode([one.copy(span)]) != expected[n])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []


@pytest.mark.slow
@pytest.mark.forks
def test_a_forked_child_guards_like_its_parent() -> None:
    one = copier("redacted")
    span = made({"app.text": f"words {KEY}"})
    expected = encode([one.copy(span)])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, b"same" if encode([one.copy(span)]) == expected else b"other")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 16) == b"same"
    os.close(read)


@settings(max_examples=100, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    carrier=st.sampled_from(sorted(CARRIERS)),
    kind=st.sampled_from(sorted(EXACT)),
    seed=st.integers(0, 20),
)
def test_guarding_a_guarded_span_changes_nothing(mode: str, carrier: str, kind: str, seed: int) -> None:
    text = EXACT[kind](random.Random(seed))
    first = copier(mode).copy(CARRIERS[carrier](text))
    again = made(first.attributes or {}, name=first.name, description=first.status.description or "")

    second = copier(mode).copy(again)

    assert second.name == first.name
    kept = {key: found for key, found in (second.attributes or {}).items() if key in (first.attributes or {})}
    kept.pop("somatrace.guard.removed", None)
    assert {key: found for key, found in kept.items() if found != (first.attributes or {})[key]} == {}


# -- the prefilter -----------------------------------------------------------------------------------------


def _text(stem: bytes | str) -> str:
    return stem.decode() if isinstance(stem, bytes) else str(stem)


@settings(max_examples=400, deadline=None)
@given(
    st.text(st.sampled_from("abkeysti019-_.:@+/ =SKGAI()%&\\"), max_size=64)
    | st.builds(
        lambda stem, before, after: before + stem + after,
        st.sampled_from(sorted({_text(stem) for detector in detectors() for stem in detector.stems})),
        st.text("aK0-_ ", max_size=12),
        st.text("aK0-_ ", max_size=40),
    )
)
def test_the_prefilter_skips_no_value_that_detectors_find(text: str) -> None:
    with_gate = find(text)
    among, Prefilter.among = Prefilter.among, lambda prefilter, _: prefilter._all  # type: ignore[method-assign, assignment]
    try:
        assert with_gate == find(text)
    finally:
        Prefilter.among = among  # type: ignore[method-assign]


# -- values that only look declared, known or safe ----------------------------------------------------


@pytest.mark.parametrize(
    "mark",
    [True, "yes", 1, DECLARED_MARK + 1, float(DECLARED_MARK)],
    ids=["true", "yes", "one", "next", "float"],
)
def test_an_event_cannot_mark_itself_as_declared(mark: Any) -> None:
    copy = copier("none").copy(made({}, event={"somatrace.declared": mark, "app.text": "two words"}))

    assert [dict(event.attributes or {}) for event in copy.events] == [{}]


def test_a_library_value_that_overwrites_a_declared_attribute_is_not_declared() -> None:
    span = made({"note": "said by the program"}, declared=frozenset({"note"}))
    span._attributes["note"] = "written by a library"  # type: ignore[index]

    copy = copier("none").copy(span)

    assert "note" not in (copy.attributes or {})


class Chameleon(str):
    """A text that claims to equal any other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("stop")


@pytest.mark.parametrize("mode", MODES)
def test_a_text_that_claims_to_equal_a_known_one_is_checked_by_its_content(mode: str) -> None:
    made_by = copier(mode)
    made_by.copy(made({"gen_ai.response.finish_reasons": ("stop",), "error.type": "stop", "stop": 1}))
    lie = Chameleon(f"see {KEY}")

    copy = made_by.copy(
        made({"gen_ai.response.finish_reasons": (lie,), "error.type": lie, lie: 1}, name=lie, scope=lie)
    )

    assert KEY.encode() not in encode([copy])


@pytest.mark.parametrize("number", [4711, 8675309, 12.5])
@pytest.mark.parametrize("declared", [frozenset(), frozenset({"db.password"})])
def test_a_number_under_a_password_name_does_not_leave(number: float, declared: frozenset[str]) -> None:
    copy = copier("none").copy(
        made({"db.password": number}, event={"db.password": number}, declared=declared)
    )

    assert str(number) not in json.dumps(
        [dict(copy.attributes or {}), *map(attributes_of_event, copy.events)]
    )


def attributes_of_event(event: Event) -> dict[str, Any]:
    return dict(event.attributes or {})


def test_a_password_in_a_tag_does_not_leave() -> None:
    assert checked_tags({"passcode": 1234, "job": 1234}).bound == {
        "passcode": "[PASSWORD]",
        "job": 1234,
    }


@pytest.mark.parametrize("mode", ["redacted", "full"])
@pytest.mark.parametrize(
    "value",
    [
        ("--password", "hunter2-very-secret"),
        ("run", "--api-key", "hunter2-very-secret", "now"),
        (("authorization", "hunter2-very-secret"), ("x", "y")),
        {"name": "password", "value": "hunter2-very-secret"},
        {"headers": [{"key": "api_key", "value": "hunter2-very-secret"}]},
    ],
    ids=str,
)
def test_a_secret_name_in_one_item_marks_the_next_item_as_secret(value: Any, mode: str) -> None:
    copy = copier(mode).copy(made({"app.value": value}))

    assert b"hunter2" not in encode([copy])


@settings(max_examples=100, deadline=None)
@given(cuts=st.sets(st.integers(1, len(KEY) - 1), min_size=1, max_size=8), mode=st.sampled_from(MODES))
def test_a_secret_spread_over_items_is_found(cuts: set[int], mode: str) -> None:
    edges = [0, *sorted(cuts), len(KEY)]
    parts = tuple(KEY[begin:end] for begin, end in itertools.pairwise(edges))

    copy = copier(mode).copy(made({"app.deltas": ("begin ", *parts, " end")}))

    assert (copy.attributes or {}).get("app.deltas") in (None, ("[REDACTED:split]",))


@pytest.mark.parametrize(
    "entry",
    [
        {"Key": "DB_PASSWORD", "Value": "marigold9"},
        {"Value": "marigold9", "Name": "DB_PASSWORD"},
        {"id": "7", "ParameterKey": "DB_PASSWORD", "ParameterValue": "marigold9"},
        {"header": "X-Password", "val": "marigold9"},
        {"key": "db.password", "value": {"stringValue": "marigold9"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", MODES)
def test_an_object_with_a_name_and_a_value_loses_a_secret_value(entry: Any, mode: str) -> None:
    copy = copier(mode).copy(made({"app.tags": entry, "app.more": (entry,)}))

    assert b"marigold9" not in encode([copy])


@pytest.mark.parametrize("numbers", [(4, *(1,) * 15), (4111, 1111, 1111, 1111), (3782, 822463, 10005)])
@pytest.mark.parametrize("mode", ["none", "redacted"])
def test_a_card_as_a_list_of_numbers_does_not_leave(numbers: tuple[int, ...], mode: str) -> None:
    copy = copier(mode).copy(made({"app.value": numbers}))

    assert (copy.attributes or {}).get("app.value") in (None, ("[REDACTED:split]",))


def test_a_list_of_numbers_that_is_no_card_leaves_with_the_content() -> None:
    copy = copier("redacted").copy(made({"app.value": (4096, 2048, 1024, 512)}))

    assert (copy.attributes or {})["app.value"] == (4096, 2048, 1024, 512)


def test_usage_is_kept_beyond_the_limit_on_distinct_keys() -> None:
    usage = {
        "gen_ai.usage.input_tokens": 812,
        "llm.usage.total_tokens": 900,
        "http.response.status_code": 200,
    }
    made_by = copier("none")
    for number in range(attribute_names.MAX_KEYS + 1):
        made_by.copy(made({f"key_{number:x}_of_content": 1}))

    copy = made_by.copy(made(usage | {"one.more": 1}))

    assert usage.items() <= dict(copy.attributes or {}).items()
    assert "one.more" not in (copy.attributes or {})


def test_words_under_a_key_with_too_many_of_them_are_content() -> None:
    made_by = copier("none")
    asked = [f"please cancel order {letter * 3}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    kept = [
        text
        for text in asked
        if "gen_ai.tool.name" in (made_by.copy(made({"gen_ai.tool.name": text})).attributes or {})
    ]

    assert kept == asked[: attribute_names.MAX_WORDY_PER_SCOPE]


def test_only_counters_are_names_in_usage_details() -> None:
    said = made({"langfuse.observation.usage_details": '{"input": 5, "cache_read_input_tokens": 3}'})
    hidden = made({"langfuse.observation.cost_details": '{"john_lives_at_five_main_street": 1}'})

    assert "langfuse.observation.usage_details" in (copier("none").copy(said).attributes or {})
    assert "langfuse.observation.cost_details" not in (copier("none").copy(hidden).attributes or {})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "text", [f"the key is {KEY}", "write to ada.lovelace@example.com", "pay with 4111 1111 1111 1111"]
)
def test_half_a_value_at_the_end_of_a_truncated_text_is_removed(text: str, mode: str) -> None:
    for length in range(len(text) - 12, len(text)):
        guard = Guard(resolve=lambda _: Grant(mode), cut_at={length})  # type: ignore[arg-type]

        kept, _ = guard.content_filter("acme").attributes({"app.text": text[:length]})

        assert kept.get("app.text", "[TRUNCATED]").endswith("[TRUNCATED]")
        assert not any(half in str(kept) for half in ("sk-proj", "lovelace", "4111"))


def test_terms_are_found_in_names_and_keys() -> None:
    guard = Guard(resolve=lambda _: Grant("redacted", terms=("Project Zeus", "Falcon")))
    made_by = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)

    copy = made_by.copy(
        made({"Falcon.count": 1, "app.map": {"Falcon": 2}}, name="plan Project Zeus", scope=PROGRAM)
    )

    assert copy.name == "plan [TERM]"
    assert (copy.attributes or {})["[TERM].count"] == 1
    assert (copy.attributes or {})["app.map"] == {"[TERM]": 2}


def test_without_content_terms_are_removed_from_everything_that_leaves() -> None:
    grant = PolicyEntry("none", terms=("Falcon",), safe_keys=("app.stage",)).grant()
    guard = Guard(resolve=lambda _: grant)
    made_by = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)
    said = {
        "app.stage": "Falcon take-off",
        "gen_ai.request.model": "falcon",
        "gen_ai.response.finish_reasons": ("falcon",),
        "Falcon.count": 3,
        "Falcon.text": "x",
        "gen_ai.tool.name": "search",
    }

    for _ in range(2):  # the second time everything is cached
        copy = made_by.copy(
            made(said, name="plan Falcon", scope=PROGRAM, tags={"team": "falcon", "tenant_id": "falcon"})
        )

        attributes = dict(copy.attributes or {})
        assert attributes.pop("tenant_id") == attributes.pop("langfuse.trace.metadata.tenant_id") == "falcon"
        assert attributes.pop("langfuse.trace.tags")[0] == "tenant:falcon"
        assert "falcon" not in f"{copy.name} {attributes}".casefold()
        assert attributes["gen_ai.tool.name"] == "search"
        assert attributes["team"] == "[TERM]"
        assert attributes["[TERM].count"] == 3


@pytest.mark.parametrize("part", ["workflow_name", "agent_id"])
def test_derived_tags_are_checked_like_names(part: str) -> None:
    guard = Guard()
    sentence = "Tell Jane Miller that her screening was positive, please call the clinic in Leeds"

    tags = guard.tags(Tags({}, {part: sentence, "team": 7}), guard.content_filter("acme"))

    assert tags.derived == {part: f"{part}.name", "team": 7}


@pytest.mark.parametrize(
    "key",
    [
        "db.My password is hunter2.collection_name",
        "db.ada@example.com.index_name",
        "db." + "k=" * 1000 + ".index_name",
    ],
)
def test_a_known_ending_does_not_make_a_key_valid(key: str) -> None:
    for value in (5, "articles"):
        copy = copier("none").copy(made({key: value}))

        assert key not in (copy.attributes or {})


def test_beyond_the_key_limit_no_key_passes_by_its_ending() -> None:
    guard = Guard()
    content_filter = guard.content_filter("acme")
    for number in range(attribute_names.MAX_KEYS + 100):
        content_filter.attributes({f"db.op{number}.collection_name": "articles"})

    kept, _ = content_filter.attributes(
        {"db.another.collection_name": "articles", "db.sql.table": "articles"}
    )

    assert kept == {"db.sql.table": "articles"}
    assert len(guard._known.names._values) <= attribute_names.MAX_KEYS + 1


@pytest.mark.parametrize("state", ["th:0", "th:c;rv:6e6d1a75832a2f", "p:8;r:62"])
def test_the_sampling_entry_of_a_tracestate_leaves(state: str) -> None:
    assert Guard().tracestate({"ot": state, "vendor": "x"}) == [("ot", state)]


@pytest.mark.parametrize(
    "state", ["sk5f2a9c1e7b3d:AKIAIOSFODNN7EXAMPLE", "th:c;x:y", "hunter2", "th:" + "0" * 60]
)
def test_other_tracestate_entries_do_not_leave(state: str) -> None:
    assert Guard().tracestate({"ot": state}) == []


@pytest.mark.parametrize(
    "address",
    ["https://u:hunter2pass@x/?token=abc", "https://x.example/AKIAIOSFODNN7EXAMPLE", "hunter2"],
)
def test_schema_urls_are_scanned(address: str) -> None:
    span = made({})
    span._resource = Resource({}, address)
    span._instrumentation_scope = InstrumentationScope("app", "1", address)

    sent = encode([copier("none").copy(span)])

    assert address.encode() not in sent
    assert b"opentelemetry.io/schemas/1.26.0" in encode([copier("none").copy(with_schema(span))])


def with_schema(span: ReadableSpan) -> ReadableSpan:
    span._resource = Resource({}, "https://opentelemetry.io/schemas/1.26.0")
    return span


@pytest.mark.parametrize("mode", ["redacted", "full"])
def test_everything_below_a_secret_name_is_a_secret(mode: str) -> None:
    attributes = {"password": {"x": "hunter2zz"}, "cfg": {"db": {"password": {"value": "hunter2zz"}}}}

    kept, _ = Guard(resolve=lambda _: Grant(mode)).content_filter("acme").attributes(attributes)  # type: ignore[arg-type]

    assert "hunter2zz" not in str(kept)


def test_a_text_longer_than_any_name_is_not_a_name() -> None:
    assert Guard().name("key=" * 60_000, "app", "span") == "app.span"


def test_terms_are_removed_from_scopes_and_tag_names() -> None:
    guard = Guard(resolve=lambda _: Grant("none", terms=("Falcon",)))
    made_by = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)

    copy = made_by.copy(made({}, scope="Falcon client", tags={"falcon": 1}))

    assert copy.instrumentation_scope is not None
    assert copy.instrumentation_scope.name == "[TERM] client"
    assert "falcon" not in str(dict(copy.attributes or {})).casefold()


def test_under_full_terms_stay_in_names() -> None:
    guard = Guard(resolve=lambda _: Grant("full", terms=("Falcon",)))
    made_by = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)

    copy = made_by.copy(made({"app.text": "Falcon"}, name="plan Falcon", scope=PROGRAM))

    assert (copy.name, (copy.attributes or {})["app.text"]) == ("plan Falcon", "Falcon")


def test_a_tag_cached_under_one_grant_is_checked_again_under_the_next() -> None:
    grants = [Grant("none"), Grant("none", terms=("Falcon",))]
    guard = Guard(resolve=lambda _: grants[0])
    made_by = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)
    span = made({}, tags={"team": "falcon"})

    assert (made_by.copy(span).attributes or {})["team"] == "falcon"
    del grants[0]
    assert (made_by.copy(span).attributes or {})["team"] == "[TERM]"


@pytest.mark.parametrize(
    "text", ["chatcmpl-Abc123Xyz", "resp_0af3c1", "msg_01XFDUDYJgAACzvnptvVoYEL", "chatcmpl-" + "a" * 64]
)
def test_response_ids_leave(text: str) -> None:
    copy = copier("none").copy(made({"gen_ai.response.id": text}))

    assert (copy.attributes or {})["gen_ai.response.id"] == text


@pytest.mark.parametrize(
    "text",
    [
        "chatcmpl-4111111111111111",
        f"chatcmpl-{KEY}",
        "msg-AKIAIOSFODNN7EXAMPLE",
        "req_eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnop",
        "resp_ada@example.com",
        "run-dapi1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d",
        "chatcmpl-dapi1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d",
    ],
)
def test_texts_that_only_begin_like_response_ids_are_scanned(text: str) -> None:
    copy = copier("none").copy(made({"gen_ai.response.id": text}))

    assert "gen_ai.response.id" not in (copy.attributes or {})
