"""Content leaves with `somatrace drain` only while the policy of the command grants it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from tests.drain.waiting import UNAVAILABLE, Run
from tests.support.otlp_server import OtlpServer, Reply
from tests.support.programs import run_program

SPANS = """
from somatrace import bind, content, init_tracing, span

init_tracing("orders")
for tenant in ("acme", "globex"):
    with bind(tenant_id=tenant), span("chat", kind="llm", model_group="kept"):
        content(input=f"the words of {tenant}")
"""


@pytest.fixture
def granted(server: OtlpServer, env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The settings under which a service has left content of two tenants."""
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    grants = [f"  {name}: {{content: full, until: {until}, reason: test}}\n" for name in ("acme", "globex")]
    file = tmp_path / "policy.yaml"
    file.write_text("default: none\ntenants:\n" + "".join(grants))
    settings = {"SOMATRACE_CONTENT_POLICY_FILE": str(file)}
    server.reply = lambda _: UNAVAILABLE
    run_program(SPANS, {**env, **settings})
    server.reply = lambda _: Reply()
    return settings


def test_content_is_sent_under_the_grants_it_was_recorded_under(
    server: OtlpServer, drain: Run, granted: dict[str, str]
) -> None:
    done = drain(**granted)

    sent = repr(server.spans)
    assert done.returncode == 0, done.stdout
    assert "words of acme" in sent
    assert "words of globex" in sent
    assert "removed" not in done.stdout


@pytest.mark.parametrize("more", [{}, {"SOMATRACE_CONTENT": "never"}], ids=["no policy", "never"])
def test_content_is_removed_and_said_to_be_without_them(
    server: OtlpServer, drain: Run, granted: dict[str, str], more: dict[str, str]
) -> None:
    settings = {**granted, **more} if more else {}

    done = drain(**settings)

    assert done.returncode == 0, done.stdout
    assert [span.name for span in server.spans] == ["chat", "chat"]
    assert "words of" not in repr(server.spans)
    assert "content was removed from spans: the grants" in done.stdout


def test_an_export_contains_content_under_the_same_condition(
    drain: Run, granted: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "waiting.otlp"

    done = drain("--export", str(file), "--json")

    assert done.returncode == 0, done.stdout
    assert b"words of" not in file.read_bytes()
    assert json.loads(done.stdout)["removed_content"] is True
