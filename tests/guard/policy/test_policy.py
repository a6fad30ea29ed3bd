"""Which tenants may have content in their spans: none without an entry, and none when in doubt."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import signal
import threading
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.guard import ContentPolicy
from somatrace.guard.policy import callable_source as asking_module
from somatrace.guard.policy import resolver as resolver_module
from somatrace.guard.policy.model import FULL_DAYS, NOTHING, Grant, PolicyEntry, PolicyError
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.runtime.clock import clock
from tests.support.waiting import HANG

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
FULL = {"content": "full", "until": "2026-12-31", "reason": "acme asked for it"}


def granted(source, tenant="acme", **options):
    grants = PolicyResolver(source, clock=lambda: NOW, **options)
    try:
        return grants.resolve(tenant)
    finally:
        grants.close()


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A callable that answers has the time that a busy machine needs for it."""
    monkeypatch.setattr(asking_module, "LIMIT", HANG)


@pytest.fixture
def soon(monkeypatch):
    """Check clock and file on every call instead of once a second."""
    monkeypatch.setattr(resolver_module, "INTERVAL", 0.0)


def lines(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "somatrace.audit"]


# -- entries -------------------------------------------------------------------------------------------------


def test_without_a_policy_no_tenant_has_content():
    assert granted(None) == NOTHING


@pytest.mark.parametrize("mode", ["none", "redacted"])
def test_a_tenants_entry_determines_its_grant(mode):
    assert granted({"tenants": {"acme": {"content": mode}}}).mode == mode


def test_full_content_needs_an_end_and_a_reason():
    assert granted({"tenants": {"acme": FULL}}).mode == "full"

    for missing in ("until", "reason"):
        entry = {key: value for key, value in FULL.items() if key != missing}
        with pytest.raises(PolicyError, match=f"full requires {missing}"):
            ContentPolicy.parse({"tenants": {"acme": entry}}, now=NOW)


def test_full_content_can_be_granted_for_90_days_at_most():
    last = (NOW + dt.timedelta(days=FULL_DAYS)).date()

    ContentPolicy.parse({"tenants": {"acme": {**FULL, "until": last}}}, now=NOW)

    with pytest.raises(PolicyError, match="at most 90 days"):
        ContentPolicy.parse({"tenants": {"acme": {**FULL, "until": last + dt.timedelta(days=1)}}}, now=NOW)


@pytest.mark.parametrize(
    ("until", "now", "mode"),
    [
        ("2026-12-31", "2026-12-31T23:59:59+00:00", "full"),
        ("2026-12-31", "2027-01-01T00:00:00+00:00", "redacted"),
        ("2026-12-31T18:00:00+02:00", "2026-12-31T15:59:59+00:00", "full"),
        ("2026-12-31T18:00:00+02:00", "2026-12-31T16:00:00+00:00", "redacted"),
    ],
)
def test_after_an_entrys_end_the_default_applies(until, now, mode):
    policy = ContentPolicy.parse(
        {"default": "redacted", "tenants": {"acme": {**FULL, "until": until}}}, now=NOW
    )

    assert policy.grant("acme", now=dt.datetime.fromisoformat(now)).mode == mode


def test_the_default_applies_only_to_named_tenants_without_an_entry():
    policy = {"default": "redacted", "tenants": {"closed": {"content": "none"}}}

    assert granted(policy, "anybody").mode == "redacted"
    assert granted(policy, "closed").mode == "none"
    assert granted(policy, None) == NOTHING
    assert granted(policy, "unknown") == NOTHING


def test_the_default_is_never_full():
    with pytest.raises(PolicyError, match="default"):
        ContentPolicy.parse({"default": "full"})
    with pytest.raises(PolicyError, match="default"):
        ContentPolicy(default="full")


@pytest.mark.parametrize(
    ("process", "policy", "mode"),
    [
        (None, None, "none"),
        ("redacted", None, "redacted"),
        (None, "redacted", "redacted"),
        ("none", "redacted", "none"),
        ("redacted", "none", "none"),
        ("redacted", "redacted", "redacted"),
    ],
)
def test_the_more_restrictive_of_two_defaults_applies(process, policy, mode):
    assert granted({"default": policy}, default=process).mode == mode


def test_an_entry_overrides_a_process_wide_default():
    assert granted({"tenants": {"acme": {"content": "redacted"}}}, default="none").mode == "redacted"


def test_never_turns_all_content_off():
    assert granted({"default": "redacted", "tenants": {"acme": FULL}}, never=True) == NOTHING
    assert granted(lambda _: "redacted", never=True) == NOTHING


def test_a_grant_includes_safe_keys_categories_and_terms():
    policy = {
        "categories": ["pii", "customer"],
        "terms": ["Falcon"],
        "tenants": {
            "acme": {"content": "redacted", "safe_keys": ["app.stage", "app.score.*"], "terms": ["Eagle"]}
        },
    }

    grant = granted(policy)

    assert grant.safe_keys == ("app.stage", "app.score.*")
    assert (grant.terms, grant.own) == (("Falcon",), ("Eagle",))
    assert grant.categories == {"secrets", "pii", "customer"}


def test_terms_apply_without_content_and_without_a_tenant():
    policy = {"terms": ["Falcon"], "tenants": {"acme": {"content": "none", "terms": ["Eagle"]}}}

    assert granted(policy) == Grant("none", terms=("Falcon",), own=("Eagle",))
    assert granted(policy, "globex") == granted(policy, None) == Grant("none", terms=("Falcon",))
    assert granted(policy, never=True) == Grant("none", terms=("Falcon",))


def test_a_files_terms_and_categories_apply_to_a_callables_entries(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text('categories = ["pii", "customer"]\nterms = ["Falcon"]\n')
    answers = {"acme": "redacted", "beta": "none"}
    grants = PolicyResolver(answers.get, path=file, clock=lambda: NOW)
    try:
        acme, beta, other = map(grants.resolve, ("acme", "beta", "other"))
    finally:
        grants.close()

    assert acme == Grant("redacted", (), frozenset({"secrets", "pii", "customer"}), ("Falcon",))
    assert beta == other == Grant("none", terms=("Falcon",))


def test_categories_omitted_by_a_file_are_not_detected(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text('categories = ["pii"]\nterms = ["Falcon"]\n[tenants.acme]\ncontent = "redacted"\n')

    assert granted(None, path=file) == Grant("redacted", (), frozenset({"secrets", "pii"}))
    assert granted({"categories": ["financial"]}, path=file).categories == {"secrets", "pii", "financial"}


def test_a_tenant_without_the_category_customer_has_no_terms():
    entry = {"content": "redacted", "categories": ["pii"], "terms": ["Eagle"]}

    grant = granted({"terms": ["Falcon"], "tenants": {"acme": entry}})
    assert grant.terms == grant.own == ()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "must be a table of names and values"),
        ({"tenant": {}}, "tenant: unknown key, use categories, default, tenants, terms"),
        ({"tenants": {"acme": {}}}, "content is required"),
        ({"tenants": {"acme": {"content": "off"}}}, "tenants.acme.content: use none or redacted or full"),
        ({"tenants": {"acme": {"content": True}}}, "use none or redacted or full"),
        ({"tenants": {"acme": "redacted"}}, "tenants.acme: must be a table of names and values"),
        ({"tenants": {"": {"content": "none"}}}, "printable"),
        ({"tenants": {"a\nb": {"content": "none"}}}, "printable"),
        ({"tenants": {7: {"content": "none"}}}, "must be a table of names and values"),
        ({"tenants": {"acme": {**FULL, "until": "soon"}}}, "use a date such as"),
        ({"tenants": {"acme": {**FULL, "until": "2026-12-31T10:00:00"}}}, "offset from UTC"),
        ({"tenants": {"acme": {**FULL, "until": "9999-12-31T23:59:59-01:00"}}}, "use a date such as"),
        ({"tenants": {"acme": {**FULL, "until": "0001-01-01T00:00:00+01:00"}}}, "use a date such as"),
        ({"tenants": {"acme": {**FULL, "reason": "  "}}}, "full requires reason"),
        ({"tenants": {"acme": {**FULL, "reason": "a\nb"}}}, "one line of text"),
        ({"tenants": {"acme": {"content": "none", "safe_keys": ["*"]}}}, "safe_keys"),
        ({"tenants": {"acme": {"content": "none", "safe_keys": ["a*"]}}}, "safe_keys"),
        ({"tenants": {"acme": {"content": "none", "safe_keys": "app.x"}}}, "a list"),
        ({"categories": ["names"]}, "use customer, financial, pii, secrets"),
        ({"terms": ["--"]}, "letter or digit"),
    ],
)
def test_mistakes_are_reported_with_their_position(raw, message):
    with pytest.raises(PolicyError, match=message):
        ContentPolicy.parse(raw, now=NOW)


def test_an_invalid_policy_in_code_grants_nothing_and_is_reported():
    grants = PolicyResolver({"default": "full"})

    assert grants.resolve("acme") == NOTHING
    assert grants.problems == ("content_policy: nothing is granted: default: use none or redacted",)


WORDS = st.sampled_from(["default", "tenants", "acme", "content", "until", "reason", "terms", "safe_keys"])
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.just(FULL),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
)


@given(PLAIN)
def test_any_plain_data_is_parsed_or_rejected(raw):
    try:
        policy = ContentPolicy.parse(raw, now=NOW)
    except PolicyError:
        return
    assert policy.grant("nobody", now=NOW).mode in ("none", "redacted")
    assert all(entry.until and entry.reason for entry in policy.tenants.values() if entry.content == "full")


def test_a_policy_is_immutable():
    tenants = {"acme": PolicyEntry("redacted")}
    policy = ContentPolicy(tenants=tenants)
    tenants["evil"] = PolicyEntry("full")

    assert policy.grant("evil") == NOTHING
    with pytest.raises(TypeError):
        policy.tenants["evil"] = PolicyEntry("full")  # type: ignore[index]


# -- time ----------------------------------------------------------------------------------------------------

END = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def moment(monkeypatch, soon):
    """A wall clock that can be set, and elapsed seconds that the program cannot change."""
    passed = [0.0]
    monkeypatch.setattr(resolver_module, "clock", clock._replace(monotonic=lambda: passed[0]))
    return types.SimpleNamespace(now=NOW, passed=passed)


def test_an_entry_ends_on_time_even_if_others_end_later(moment):
    tenants = {name: {**FULL, "until": END + number * SECOND} for number, name in enumerate("abc")}
    grants = PolicyResolver({"tenants": {**tenants, "d": {"content": "redacted"}}}, clock=lambda: moment.now)

    seen = []
    for number in range(-1, 4):
        moment.now = END + number * SECOND
        seen.append("".join(name for name in "abcd" if grants.resolve(name) != NOTHING))

    assert seen == ["abcd", "bcd", "cd", "d", "d"]


def test_the_table_is_not_rebuilt_before_an_entry_ends(moment):
    made = []

    class Counted(ContentPolicy):
        def grant(self, tenant, *args, **options):
            made.append(tenant)
            return super().grant(tenant, *args, **options)

    policy = Counted(tenants={"acme": PolicyEntry("full", END, "r"), "other": PolicyEntry("redacted")})
    grants = PolicyResolver(policy, clock=lambda: moment.now)
    for _ in range(100):
        grants.resolve("acme")
    assert made == ["acme", "other"]

    moment.now = END
    assert grants.resolve("acme") == NOTHING
    assert made == ["acme", "other", "other"]


def test_setting_the_clock_back_does_not_revive_an_ended_entry(moment):
    grants = PolicyResolver({"tenants": {"acme": FULL}}, clock=lambda: moment.now)
    moment.now = END
    assert grants.resolve("acme") == NOTHING

    moment.now = NOW

    assert grants.resolve("acme") == NOTHING


def test_setting_the_clock_back_does_not_extend_a_grant(moment):
    entry = {**FULL, "until": NOW + 60 * SECOND}
    grants = PolicyResolver({"tenants": {"acme": entry}}, clock=lambda: moment.now)
    moment.now = NOW - dt.timedelta(days=30)
    moment.passed[0] = 59.0
    assert grants.resolve("acme").mode == "full"

    moment.passed[0] = 60.0

    assert grants.resolve("acme") == NOTHING


def test_setting_the_clock_back_does_not_revive_a_callables_grant(moment, monkeypatch):
    monkeypatch.setattr(asking_module, "TTL", 0.0)
    grants = PolicyResolver(lambda _: FULL, clock=lambda: moment.now)
    assert grants.resolve("acme").mode == "full"
    moment.now = END
    assert grants.resolve("acme") == NOTHING

    moment.now = NOW

    assert grants.resolve("acme") == NOTHING
    grants.close()


def test_a_failing_clock_grants_nothing_until_it_works(soon):
    works = [True]

    def clock():
        if not works[0]:
            raise OSError
        return NOW

    grants = PolicyResolver({"tenants": {"acme": FULL}}, clock=clock)
    assert grants.resolve("acme").mode == "full"

    works[0] = False
    assert grants.resolve("acme") == NOTHING

    works[0] = True
    assert grants.resolve("acme").mode == "full"


def test_an_inconsistent_policy_object_grants_nothing():
    assert granted(ContentPolicy(tenants={"acme": "redacted"}), default="redacted") == NOTHING


# -- audit ---------------------------------------------------------------------------------------------------


def test_grants_changes_and_expiry_are_audit_events(caplog, soon):
    caplog.set_level(logging.INFO, "somatrace.audit")
    moment = [NOW]
    grants = PolicyResolver(
        {"tenants": {"acme": FULL, "closed": {"content": "none"}}}, clock=lambda: moment[0]
    )
    grants.resolve("acme")

    moment[0] = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert grants.resolve("acme") == NOTHING
    grants.resolve("acme")

    assert [record.somatrace_event for record in caplog.records] == ["content.granted", "content.expired"]
    first = caplog.records[0]
    assert (first.tenant_id, first.content, first.reason) == ("acme", "full", "acme asked for it")
    assert first.until == "2027-01-01T00:00:00+00:00"
    assert "\n" not in first.getMessage()


# -- a callable ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "mode"),
    [
        ("redacted", "redacted"),
        ("none", "none"),
        (FULL, "full"),
        (None, "none"),
        ("full", "none"),
        ("yes", "none"),
        ({"content": "full"}, "none"),
        (7, "none"),
    ],
)
def test_a_callable_cannot_grant_more_than_an_entry(answer, mode):
    assert granted(lambda tenant: answer if tenant == "acme" else None).mode == mode


def test_a_callable_returning_none_means_the_default():
    assert granted(lambda _: None, default="redacted").mode == "redacted"


def test_a_failing_callable_grants_nothing_and_is_reported():
    def failing(tenant: str) -> str:
        raise RuntimeError("the secret reason")

    grants = PolicyResolver(failing, default="redacted")

    assert grants.resolve("acme") == NOTHING
    [problem] = grants.problems
    assert "RuntimeError" in problem
    assert "secret" not in problem
    grants.close()


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), PolicyError("")]
)
def test_a_callable_may_raise_any_exception_and_is_reported_once(raised, caplog, capfd):
    asked = []

    def raising(tenant: str) -> str:
        asked.append(tenant)
        raise raised

    grants = PolicyResolver(raising, default="redacted")

    assert [grants.resolve("acme") for _ in range(3)] == [NOTHING] * 3
    assert asked == ["acme"]
    line = f"content_policy: the callable failed, so nothing is granted: {type(raised).__name__}"
    assert grants.problems == (line,)
    assert [record.getMessage() for record in caplog.records] == [line]
    assert capfd.readouterr().err == ""
    grants.close()


def test_a_late_callable_grants_nothing_and_does_not_block(monkeypatch):
    release = threading.Event()

    def stuck(tenant: str) -> str:
        release.wait(60)
        return "redacted"

    monkeypatch.setattr(asking_module, "LIMIT", 0.25)
    grants = PolicyResolver(stuck, default="redacted")
    try:
        assert grants.resolve("acme") == NOTHING
        assert grants.resolve("other") == NOTHING
    finally:
        release.set()
        grants.close()


def test_a_callables_result_is_cached():
    asked = []

    def counting(tenant: str) -> str:
        asked.append(tenant)
        return "redacted"

    grants = PolicyResolver(counting)
    for _ in range(100):
        assert grants.resolve("acme").mode == "redacted"
    grants.close()

    assert asked == ["acme"]


def test_a_callable_is_never_called_without_a_tenant():
    grants = PolicyResolver(lambda _: "redacted")

    assert grants.resolve(None) == NOTHING
    assert grants.resolve("unknown") == NOTHING
    grants.close()


def test_a_callables_grant_is_an_audit_event(caplog):
    caplog.set_level(logging.INFO, "somatrace.audit")

    granted(lambda _: FULL)

    assert lines(caplog) == [
        "content granted: tenant acme, full, until 2027-01-01T00:00:00+00:00, acme asked for it"
    ]


def test_resolving_from_many_threads_gives_each_the_result():
    grants = PolicyResolver(lambda tenant: "redacted" if tenant == "acme" else "none")
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.extend(grants.resolve("acme").mode for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grants.close()

    assert seen == ["redacted"] * 400


# -- fork ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(lock):
    """Hold the lock in another thread, like a thread that rebuilds the table."""
    taken, release = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    try:
        yield
    finally:
        release.set()
        thread.join()


def in_a_child(what) -> bool:
    """Whether `what` is true in a newly forked child."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # a child that hangs fails
        code = 2
        with contextlib.suppress(BaseException):
            code = 0 if what() else 1
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.slow
@pytest.mark.forks
def test_a_grant_ends_in_a_child_forked_while_a_thread_held_the_lock():
    moment = [NOW]
    grants = PolicyResolver({"tenants": {"acme": FULL}}, clock=lambda: moment[0])
    assert grants.resolve("acme").mode == "full"

    def ends():
        moment[0] = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
        return grants.resolve("acme") == NOTHING

    with held(grants._lock):
        assert in_a_child(ends)


@pytest.mark.slow
@pytest.mark.forks
def test_a_callable_is_called_in_a_child_forked_while_a_thread_held_the_lock(monkeypatch):
    parent, release = os.getpid(), threading.Event()

    def stuck_in_the_parent(tenant: str) -> str:
        if os.getpid() == parent and tenant == "stuck":
            release.wait(60)
        return "redacted"

    grants = PolicyResolver(stuck_in_the_parent)
    try:
        assert grants.resolve("acme").mode == "redacted"
        with monkeypatch.context() as impatient:
            impatient.setattr(asking_module, "LIMIT", 0.25)
            assert grants.resolve("stuck") == NOTHING

        with held(grants._lock):
            assert in_a_child(lambda: grants.resolve("other").mode == "redacted")
    finally:
        release.set()
        grants.close()


@pytest.mark.slow
@pytest.mark.forks
def test_a_program_may_fork_while_an_audit_event_is_logged():
    children = []

    class Forking(logging.Handler):
        def emit(self, record):
            children.append(os.fork())

    moment = [NOW]
    grants = PolicyResolver({"tenants": {"acme": FULL}}, clock=lambda: moment[0])
    grants._due = 0.0  # a second later
    moment[0] = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    handler, logger = Forking(), logging.getLogger("somatrace.audit")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        granted = grants.resolve("acme")
    except BaseException:
        granted = None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    [child] = children
    if child == 0:
        os._exit(0 if granted == NOTHING else 1)

    assert granted == NOTHING
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- plain texts ---------------------------------------------------------------------------------------------


class Impostor(str):
    """Claims to equal every text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("acme")

    def __str__(self) -> str:
        return self


class Disguised:
    """Claims to be a text."""

    __class__ = str


def test_a_tenant_that_claims_to_equal_another_is_granted_nothing():
    source = {"tenants": {"acme": {"content": "redacted"}}}
    assert granted(source, Impostor("globex")) == NOTHING
    assert ContentPolicy.parse(source).grant(Impostor("globex")) == NOTHING


@pytest.mark.parametrize(
    "make", [lambda tenants: tenants, ContentPolicy.parse], ids=["plain data", "parsed policy"]
)
def test_an_entry_whose_key_claims_to_equal_other_tenants_is_for_its_own_text(make):
    source = make({"tenants": {Impostor("globex"): {"content": "redacted"}}})
    assert granted(source, "acme") == NOTHING
    assert granted(source, "globex").mode == "redacted"


def test_entries_in_code_are_for_the_texts_of_their_keys():
    policy = ContentPolicy(tenants={Impostor("globex"): PolicyEntry("redacted")})
    assert [policy.grant(tenant).mode for tenant in ("acme", "globex")] == ["none", "redacted"]
    assert {type(tenant) for tenant in policy.tenants} == {str}


@pytest.mark.parametrize("key", [7, None, Disguised()], ids=["number", "none", "disguised"])
def test_a_key_that_is_not_a_text_is_a_mistake(key):
    with pytest.raises(PolicyError):
        ContentPolicy(tenants={key: PolicyEntry("redacted")})
    with pytest.raises(PolicyError):
        ContentPolicy.parse({"tenants": {key: {"content": "redacted"}}})


@pytest.mark.parametrize("answer", [Impostor("everything"), Disguised()], ids=["impostor", "disguised"])
def test_an_answer_that_only_claims_to_be_a_mode_grants_nothing(answer):
    with pytest.raises(PolicyError):
        ContentPolicy.parse({"tenants": {"acme": {"content": answer}}})
    assert granted(lambda _: answer).mode == "none"
