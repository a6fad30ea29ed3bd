"""No tenant is a state of its own: nothing supplies a tenant to work that was bound to none."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from somatrace import bind, bound, content, incoming, outgoing, propagation, span
from somatrace.config import Config
from somatrace.context.tags import MAX_TAGS, Tags, check_name, check_value, current, usable
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.instrumentation.content_capture import ContentCapture
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.propagation import tag_header
from somatrace.propagation.inject import effective
from somatrace.testing import capture
from somatrace.tracing import init_tracing, installed

PROMPT = "the falcon lands at noon"


class Impostor(str):
    """Claims to equal every tenant, to be short and printable, and to be its own text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash("open")

    def __len__(self) -> int:
        return 4

    def __str__(self) -> str:
        return self

    def isprintable(self) -> bool:
        return True

    def strip(self, *_: object) -> str:  # type: ignore[override]
        return self


class Disguised:
    """Claims to be a boolean, and turns into an impostor as text."""

    __class__ = bool  # type: ignore[assignment]

    def __str__(self) -> str:
        return Impostor("globex")


class Plan(str, enum.Enum):  # noqa: UP042 - a str-Enum as programs write it
    ACME = "acme"


NO_TENANT = {
    "none": None,
    "empty": "",
    "blank": " ",
    "over-long": "x" * 201,
    "over-long impostor": Impostor("x" * 300),
    "unprintable": "a\nb",
    "number": 7,
    "boolean": True,
    "bytes": b"open",
    "object": object(),
    "disguised object": Disguised(),
}
no_tenant = pytest.mark.parametrize("said", NO_TENANT.values(), ids=NO_TENANT.keys())


@pytest.fixture
def open_policy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A policy under which the content of the tenant `open` may leave, and of no other."""
    init_tracing("test", config=Config(target="none"))
    grants = PolicyResolver({"tenants": {"open": {"content": "redacted"}}})
    pipeline = installed().pipeline  # type: ignore[union-attr]
    monkeypatch.setattr(pipeline.copier._guard, "_resolve", grants.resolve)  # type: ignore[union-attr]
    with capture():
        yield
    grants.close()


def ask() -> None:
    """One unit of work with a prompt, made like an instrumentor's."""
    with span("ask"):
        content(input=PROMPT)


def assert_unknown_and_closed(seen: Any) -> None:
    asked = seen.named("ask")
    assert asked.attributes["tenant_id"] == asked.attributes["langfuse.trace.metadata.tenant_id"] == "unknown"
    assert asked.attributes["langfuse.trace.tags"][0] == "tenant:unknown"
    assert PROMPT not in str(dict(asked.attributes))


# -- nothing inherits across it ----------------------------------------------------------------------------


@no_tenant
def test_it_inherits_nothing_from_an_open_span(open_policy, said) -> None:
    with capture() as seen, span("request", tenant_id="open"), bind(tenant_id=said):
        ask()
        assert "tenant_id" not in bound()
        assert not ContentCapture(lambda tenant: tenant == "open").wanted()
    assert_unknown_and_closed(seen)
    assert seen.named("request").attributes["tenant_id"] == "open"


@no_tenant
def test_a_span_bound_to_it_inherits_nothing_either(open_policy, said) -> None:
    with capture() as seen, span("request", tenant_id="open"), span("outer", tenant_id=said):
        ask()
    assert_unknown_and_closed(seen)
    assert seen.named("outer").attributes["tenant_id"] == "unknown"


@no_tenant
def test_a_decorated_function_bound_to_it_inherits_nothing(open_policy, said) -> None:
    asked = bind(tenant_id=said)(ask)

    with capture() as seen, span("request", tenant_id="open"):
        asked()
    assert_unknown_and_closed(seen)


def test_a_generator_bound_to_it_inherits_nothing_in_any_step(open_policy) -> None:
    @bind(tenant_id=None)
    def steps() -> Iterator[None]:
        yield
        ask()

    with capture() as seen, span("request", tenant_id="open"):
        list(steps())
    assert_unknown_and_closed(seen)


@pytest.mark.parametrize("around", ["request", "closed"])
def test_in_a_request_it_does_not_get_the_tenant_of_an_earlier_block(open_policy, around) -> None:
    tracer = trace.get_tracer("server")
    other = bind(tenant_id="closed") if around == "closed" else contextlib.nullcontext()
    with capture() as seen, tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER):
        with bind(tenant_id="open"), span("first"):
            pass
        with other, bind(tenant_id=None):
            ask()
            assert "x-somatrace-tags" not in outgoing()
    assert_unknown_and_closed(seen)
    assert seen.named("POST").attributes["tenant_id"] == ("open" if around == "request" else "several")


def test_a_block_that_does_not_name_the_tenant_inherits_the_lack_of_one(open_policy) -> None:
    with capture() as seen, span("request", tenant_id="open"), bind(tenant_id=None), bind(run_id="r"):
        ask()
    assert_unknown_and_closed(seen)
    assert seen.named("ask").attributes["run_id"] == "r"


def test_a_span_below_it_passes_the_lack_of_a_tenant_to_work_that_has_only_its_trace(open_policy) -> None:
    tracer = trace.get_tracer("server")

    with capture() as seen, tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER):
        with bind(tenant_id="open"):
            pass
        with span("job", tenant_id=None):
            with_trace_only(ask)
    assert_unknown_and_closed(seen)


@pytest.mark.parametrize("way", ["thread", "pool", "task"])
def test_work_elsewhere_keeps_the_lack_of_a_tenant_whatever_span_it_continues(open_policy, way: str) -> None:
    with span("request", tenant_id="open"):
        parent = otel_context.get_current()

    def work() -> None:
        token = otel_context.attach(parent)
        ask()
        otel_context.detach(token)

    with capture() as seen, bind(tenant_id=None):
        ELSEWHERE[way](work)
    assert_unknown_and_closed(seen)


# -- labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER])
def test_a_root_bound_to_no_tenant_is_not_labeled_with_one_bound_inside(kind: SpanKind) -> None:
    tracer = trace.get_tracer("server")
    with capture() as seen, bind(tenant_id=None), tracer.start_as_current_span("root", kind=kind):
        with bind(tenant_id="acme"), span("hers"):
            pass
        with span("after"):
            pass
    assert [seen.named(name).attributes["tenant_id"] for name in ("root", "hers", "after")] == [
        "unknown",
        "acme",
        "unknown",
    ]


def test_a_labeled_root_keeps_its_own_tags_bound_and_implied_ones() -> None:
    inside = bind(tenant_id="acme", session_id="s2", user_id="u2")
    with capture() as seen, span("planner", kind="agent", session_id="s1", user_id=None), inside:
        pass
    attributes = seen.named("planner").attributes
    assert [attributes.get(name) for name in ("tenant_id", "agent_id", "session_id", "user_id")] == [
        "acme",
        "planner",
        "s1",
        None,
    ]


def test_the_default_tenant_labels_only_work_for_which_none_was_named(monkeypatch) -> None:
    with capture():
        pass
    copier: SpanCopier = installed().pipeline.copier  # type: ignore[union-attr]
    monkeypatch.setattr(copier._surroundings, "_tenant", "house")
    with capture() as seen:
        with span("not said"):
            pass
        with span("none", tenant_id=None):
            pass
        with span("overlong", tenant_id="x" * 201):
            pass
    assert [seen.named(name).attributes["tenant_id"] for name in ("not said", "none", "overlong")] == [
        "house",
        "unknown",
        "unknown",
    ]


def test_listeners_and_third_party_processors_see_no_tenant() -> None:
    with capture() as seen, span("request", tenant_id="acme"), bind(tenant_id=None), span("job"):
        pass
    records = [record for record in seen.records if record.span_name == "job"]
    assert {record.tags["tenant_id"] for record in records} == {"unknown"}
    assert seen.named("job").attributes["tenant_id"] == "unknown"


# -- other tags --------------------------------------------------------------------------------------------


def test_any_tag_bound_to_none_stays_unbound_below_the_span_that_has_it() -> None:
    with capture() as seen, span("request", user_id="u1", session_id="s1"), bind(user_id=None), span("inner"):
        assert "user_id" not in effective()
    attributes = seen.named("inner").attributes
    assert "user_id" not in attributes
    assert attributes["session_id"] == "s1"


def test_a_tag_bound_again_is_no_longer_unbound() -> None:
    tags = Tags().binding(tenant_id=None).binding(tenant_id="acme")
    assert (tags.tenant, tags.unbound) == ("acme", frozenset())


def test_the_number_of_unbound_names_is_limited_and_the_tenant_kept() -> None:
    tags = Tags()
    for number in range(3 * MAX_TAGS):
        tags = tags.binding(**{f"extra{number}": None, "tenant_id": None})
    assert len(tags.unbound) == MAX_TAGS
    assert tags.names_tenant


# -- tenants and other tags are plain values ---------------------------------------------------------------


def test_a_tenant_that_claims_to_equal_another_gets_nothing_of_its_policy(open_policy) -> None:
    with capture() as seen, bind(tenant_id=Impostor("globex")):
        ask()
        assert type(current.get().tenant) is str
    asked = seen.named("ask")
    assert asked.attributes["tenant_id"] == "globex"
    assert PROMPT not in str(dict(asked.attributes))


def test_a_name_that_claims_to_equal_another_is_bound_under_its_own_text() -> None:
    with bind(**{Impostor("project"): "open"}):
        names = [(type(name), name) for name in current.get().bound]
    assert names == [(str, "project")]


@pytest.mark.parametrize("name", ["tenant_id", "brand"])
def test_texts_are_plain_whatever_class_they_had(name: str) -> None:
    with bind(**{name: Plan.ACME}):
        value = bound()[name]
    assert (type(value), value) == (str, "acme")


def test_numbers_are_plain_whatever_class_they_had() -> None:
    class Count(int):
        def __int__(self) -> int:
            return 99

        def __le__(self, other: object) -> bool:
            return True

    class Share(float):
        def __float__(self) -> float:
            return 9.9

    with bind(count=Count(3), share=Share(0.5), huge=Count(2**70), odd=Disguised()):
        assert bound() == {"count": 3, "share": 0.5}
        assert {type(value) for value in bound().values()} == {int, float}


# -- messages, processes and services ----------------------------------------------------------------------


def test_no_tenant_is_sent_to_no_service() -> None:
    with capture(), span("request", tenant_id="acme"), bind(tenant_id=None), span("flow", kind="workflow"):
        headers = outgoing()
    sent = tag_header.decode(tag_header.split(headers["x-somatrace-tags"])[0])
    assert (dict(sent), sent.unbound) == ({"workflow_name": "flow"}, frozenset())


@pytest.mark.parametrize("captured", ["message", "process"])
def test_a_receiver_supplies_no_tenant_of_its_own_to_work_sent_without_one(captured: str) -> None:
    with capture(), bind(tenant_id=None):
        headers = propagation.message_headers()
        snapshot = propagation.PicklableSnapshot.capture()
    with capture() as seen, span("worker", tenant_id="workers"):
        with propagation.received(headers) if captured == "message" else snapshot.moment():
            assert "tenant_id" not in bound()
            with span("job"):
                pass
        assert bound()["tenant_id"] == "workers"
    assert seen.named("job").attributes["tenant_id"] == "unknown"


def test_a_receiver_keeps_its_own_tenant_for_work_sent_without_naming_one() -> None:
    with capture(), bind(run_id="r"):
        headers = propagation.message_headers()
    with bind(tenant_id="workers"), propagation.received(headers):
        assert bound() == {"tenant_id": "workers", "run_id": "r"}


def test_a_caller_without_tags_does_not_end_the_lack_of_a_tenant() -> None:
    with (
        capture() as seen,
        span("request", tenant_id="acme"),
        bind(tenant_id=None),
        incoming({}),
        span("job"),
    ):
        pass
    assert seen.named("job").attributes["tenant_id"] == "unknown"


# -- any nesting -------------------------------------------------------------------------------------------

UNSAID = "unsaid"
SAID = st.sampled_from([UNSAID, UNSAID, "a", "b", None, "", "x" * 201, 7])


@dataclass
class Block:
    """One block of the program: how it begins, its `tenant_id`, and the blocks inside it."""

    way: str
    said: Any
    inside: list[Block] = field(default_factory=list)


BLOCKS = st.recursive(
    st.builds(Block, st.just("span"), SAID),
    lambda inner: st.builds(
        Block,
        st.sampled_from(["bind", "span", "task", "thread", "pool", "trace only"]),
        SAID,
        st.lists(inner, max_size=3),
    ),
    max_leaves=10,
)


class Model:
    """Which tenant applies: the innermost one said, "unknown" for none, else that of the open span, else the
    request's label, which is the first tenant bound inside it. The root shows the only tenant below it."""

    def __init__(self, *, request: bool) -> None:
        self.request = request
        self.label = UNSAID
        self.below: set[str] = set()
        self.spans: list[str] = []

    def begin(self, said: str, parent: str) -> str:
        found = said if said != UNSAID else parent
        found = self.label if found == UNSAID and self.request else found
        self.below.add(found)
        return found

    def bound(self, said: str) -> None:
        if said not in (UNSAID, "unknown") and self.label == UNSAID:
            self.label = said
        self.below.add(said)

    @property
    def root(self) -> str:
        tenants = self.below - {UNSAID, "unknown"}
        return "several" if len(tenants) > 1 else next(iter(tenants), "unknown")

    def run(self, block: Block, said: str, parent: str) -> None:
        stated = block.said if block.said in ("a", "b", UNSAID) else "unknown"
        if block.way == "span":
            said = stated if stated != UNSAID else said
            parent = self.begin(said, parent)
            self.spans.append(parent)
        elif block.way == "bind":
            said = stated if stated != UNSAID else said
            self.bound(said)
        elif block.way == "trace only":
            said = UNSAID
        for inner in block.inside:
            self.run(inner, said, parent)


def run_block(block: Block, numbers: Iterator[int]) -> None:
    named = {} if block.said == UNSAID else {"tenant_id": block.said}

    def inside() -> None:
        for inner in block.inside:
            run_block(inner, numbers)

    if block.way == "span":
        with span(f"s{next(numbers)}", **named):
            inside()
    elif block.way == "bind":
        with bind(**named):
            inside()
    else:
        ELSEWHERE[block.way](inside)


def in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_pool(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def in_task(work: Callable[[], None]) -> None:
    async def body() -> None:
        await asyncio.sleep(0)
        work()

    async def main() -> None:
        await asyncio.create_task(body())

    in_thread(lambda: asyncio.run(main()))  # an outer block may run in a loop of its own


def with_trace_only(work: Callable[[], None]) -> None:
    """Call `work` with the current trace context and no tags, as code that passes on only the former does."""

    def attached(context: otel_context.Context) -> None:
        token = otel_context.attach(context)
        work()
        otel_context.detach(token)

    contextvars.Context().run(attached, otel_context.get_current())


ELSEWHERE = {"thread": in_thread, "pool": in_pool, "task": in_task, "trace only": with_trace_only}


@given(st.lists(BLOCKS, min_size=1, max_size=3), st.sampled_from([SpanKind.INTERNAL, SpanKind.SERVER]), SAID)
@settings(max_examples=60, deadline=None)
def test_in_any_nesting_each_span_has_the_tenant_that_applies(
    blocks: list[Block], kind: SpanKind, root_said: Any
) -> None:
    stated = root_said if root_said in ("a", "b", UNSAID) else "unknown"
    model = Model(request=kind is SpanKind.SERVER)
    if stated != UNSAID:
        model.label = stated
    for block in blocks:
        model.run(block, stated, stated)

    numbers = iter(range(10_000))
    around = contextlib.nullcontext() if root_said == UNSAID else bind(tenant_id=root_said)
    with capture() as seen, around, trace.get_tracer("server").start_as_current_span("root", kind=kind):
        for block in blocks:
            run_block(block, numbers)

    shown = {found.name: found.attributes["tenant_id"] for found in seen.spans}
    expected = ["unknown" if tenant == UNSAID else tenant for tenant in model.spans]
    assert [shown[f"s{number}"] for number in range(len(expected))] == expected
    assert shown["root"] == (model.root if stated == UNSAID else stated)


# -- the short ways of common tags ---------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(["tenant_id", "user_id", "request_id", "team", "gen_ai.x", "", "a b", "é", "n" * 65]),
    st.text(max_size=8),
)
VALUES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", " ", "  a ", "\t", "\u00a0", "x" * 200, "x" * 201, Impostor("acme"), None, True, 1, 2**70, 1.5]
    ),
    st.binary(max_size=3),
)


@given(NAMES, VALUES)
def test_a_tag_is_usable_exactly_if_its_name_and_value_are_valid(name: str, value: object) -> None:
    expected: dict[str, Any] = {"tenant_id": None} if name == "tenant_id" else {}
    with contextlib.suppress(ValueError):
        if name not in {"tenant_id", "user_id", "request_id"}:
            check_name(name)
        expected[name] = None if value is None else check_value(name, value)
    for _ in range(2):  # a name that is known by now
        found = usable({name: value})
        assert found == expected
        assert {type(one) for one in found.values()} <= {str, bool, int, float, type(None)}


TAGS = st.dictionaries(
    st.sampled_from([f"tag_{number}" for number in range(40)]), st.sampled_from(["a", "b", None])
)


@given(st.lists(TAGS, max_size=4))
def test_binding_is_the_same_at_once_and_tag_by_tag(steps: list[dict[str, Any]]) -> None:
    at_once = one_by_one = Tags(derived={"agent_id": "planner"})
    for step in steps:
        at_once = at_once.binding(**step)
        for name, value in step.items():
            one_by_one = one_by_one.binding(**{name: value})
    if len(at_once.bound) + len(at_once.unbound) < MAX_TAGS:
        assert list(at_once.bound.items()) == list(one_by_one.bound.items())
        assert (at_once.unbound, at_once.derived) == (one_by_one.unbound, one_by_one.derived)
    assert len(at_once.bound) <= MAX_TAGS
