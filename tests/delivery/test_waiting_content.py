"""Content that waits leaves only while the policy still grants it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.delivery.restricted import Restricted, packed, unpacked
from somatrace.guard.policy.model import Grant
from tests.support.otlp_server import OtlpServer, Reply, otlp_server
from tests.support.programs import otlp_env, run_program

SPANS = """
    from somatrace import *
    init_tracing("svc")
    for tenant in ("acme", "globex", "initech"):
        with bind(tenant_id=tenant), span("chat", kind="llm", model_group="kept"):
            content(input=f"the words of {tenant}, mail ada@example.com")
"""
LATER = """
    from somatrace import *
    init_tracing("svc")
    with span("later"):
        pass
    flush(60)
    import time
    while status().taken_over == 0 or status().queued_spans:
        with span("later"):
            pass
        flush(60)
        time.sleep(0.05)
"""


def policy(path: Path, **modes: str) -> dict[str, str]:
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    entries = [
        f"  {name}: {{content: {mode}, until: {until}, reason: test}}\n" for name, mode in modes.items()
    ]
    path.write_text("default: none\ntenants:\n" + "".join(entries))
    return {"SOMATRACE_CONTENT_POLICY_FILE": str(path)}


def texts(server: OtlpServer) -> str:
    return repr(server.spans)


def refuse_then_accept(server: OtlpServer, before: dict[str, str], after: dict[str, str]) -> None:
    """Run a process that the target refuses, then another one that it accepts."""
    server.reply = lambda _: Reply(503)
    run_program(SPANS, otlp_env(server.url, **before))
    server.reply = lambda _: Reply()
    run_program(LATER, otlp_env(server.url, **after), timeout=200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"acme": "redacted", "globex": "full"}, {"acme", "globex"}),
        ({"acme": "redacted"}, set()),
        ({"globex": "redacted", "acme": "redacted"}, set()),
        ({}, set()),
    ],
    ids=["as before", "one has ended", "one is stricter", "all have ended"],
)
def test_the_next_process_sends_content_only_under_the_grants_it_was_written_under(
    tmp_path: Path, changed: dict[str, str], words: set[str]
) -> None:
    before = policy(tmp_path / "before.yaml", acme="redacted", globex="full")
    after = policy(tmp_path / "after.yaml", **changed)

    with otlp_server() as server:
        refuse_then_accept(server, before, after)

    assert {name for name in ("acme", "globex", "initech") if f"words of {name}" in texts(server)} == words
    assert sorted(one.attributes["tenant_id"] for one in server.named("chat")) == [
        "acme",
        "globex",
        "initech",
    ]
    assert all(one.attributes["model_group"] == "kept" for one in server.named("chat"))
    assert ("ada@example.com" in texts(server)) is ("globex" in words)


@pytest.mark.slow
def test_a_process_that_is_told_never_sends_no_content_that_waits(tmp_path: Path) -> None:
    before = policy(tmp_path / "policy.yaml", acme="redacted", globex="full")

    with otlp_server() as server:
        refuse_then_accept(server, before, {**before, "SOMATRACE_CONTENT": "never"})

    assert len(server.named("chat")) == 3
    assert "words of" not in texts(server)


@given(
    st.binary(max_size=50), st.binary(max_size=50), st.dictionaries(st.text(max_size=9), st.text(max_size=9))
)
def test_a_record_is_read_as_it_was_written(body: bytes, without: bytes, grants: dict[str, str]) -> None:
    restricted = Restricted(grants, without)

    assert unpacked(packed(body, restricted)) == (body, restricted)


@given(st.binary(max_size=60))
def test_any_other_record_is_refused(record: bytes) -> None:
    try:
        _, restricted = unpacked(record)
    except ValueError:
        return
    assert isinstance(restricted.grants, dict)


def test_a_fingerprint_is_that_of_equal_grants_only() -> None:
    grants = [
        Grant("none"),
        Grant("redacted"),
        Grant("full"),
        Grant("full", safe_keys=("a",)),
        Grant("full", safe_keys=("b",)),
        Grant("full", terms=("a",)),
        Grant("full", own=("a",)),
        Grant("full", categories=frozenset({"pii"})),
    ]

    assert len({grant.fingerprint for grant in grants}) == len(grants)
    assert Grant("full", safe_keys=("a", "b")).fingerprint == Grant("full", safe_keys=("b", "a")).fingerprint


@pytest.mark.slow
def test_a_tenant_whose_name_is_personal_is_not_written_down(tmp_path: Path) -> None:
    env = policy(tmp_path / "policy.yaml", acme="redacted")
    text = (tmp_path / "policy.yaml").read_text().replace("acme", "'ada@example.com'")
    (tmp_path / "policy.yaml").write_text(text)
    source = SPANS.replace('"acme"', '"ada@example.com"')

    with otlp_server() as server:
        run_program(source, otlp_env(server.url, **env))
        sent = texts(server)
        server.spans.clear()
        server.reply = lambda _: Reply(503)
        run_program(source, otlp_env(server.url, **env))
    (segment,) = (tmp_path / "somatrace-data").rglob("*.segment")

    assert "the words of [EMAIL]" in sent
    assert b"ada@example.com" not in segment.read_bytes()
    assert b"the words of" in segment.read_bytes()
