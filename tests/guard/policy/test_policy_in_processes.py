"""The content policy end to end: the content that arrives at the receiver's socket under a tenant's grant."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program

PROGRAM = """
from opentelemetry import trace
from somatrace import bind, content, flush, init_tracing, span, event
init_tracing("svc")
for tenant in ("open", "masked", "closed", None):
    with bind(tenant_id=tenant), span(f"call-{tenant}", kind="llm") as work:
        content(input=f"ask of {tenant}: mail me at bob@example.com with key sk-proj-" + "Ab1" * 16)
        work.set_attribute("gen_ai.output.messages", '[{"content": "the answer, card 4111 1111 1111 1111"}]')
        try:
            with trace.get_tracer("lib").start_as_current_span("fails"):
                raise ValueError(f"provider echoed the words of {tenant}")
        except ValueError:
            pass
assert flush(60)
"""
UNTIL = str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30))
POLICY = f"""
default: none
tenants:
  open: {{content: full, until: {UNTIL}, reason: incident 7}}
  masked: {{content: redacted}}
"""


def run(tmp_path: Path, policy: str = POLICY, program: str = PROGRAM, **env: str) -> OtlpServer:
    file = tmp_path / "policy.yaml"
    file.write_text(policy)
    with otlp_server() as server:
        env = {"SOMATRACE_CONTENT_POLICY_FILE": str(file), **env}
        done = run_program(program, otlp_env(server.url, **env))
        assert "Traceback" not in done.stderr
        server.wait_for(1)
    return server


def asked(server: OtlpServer, tenant: str) -> str:
    return server.named(f"call-{tenant}")[0].attributes.get("langfuse.observation.input", "")


def test_full_keeps_words_and_removes_secrets(tmp_path: Path) -> None:
    text = asked(run(tmp_path), "open")
    assert "bob@example.com" in text
    assert "Ab1Ab1" not in text


def test_redacted_keeps_words_and_replaces_detected_values(tmp_path: Path) -> None:
    server = run(tmp_path)
    text = asked(server, "masked")
    assert text.startswith("ask of masked: mail me at [EMAIL]")
    assert "Ab1Ab1" not in text
    output = server.named("call-masked")[0].attributes["gen_ai.output.messages"]
    assert "the answer" in output
    assert "4111" not in output


@pytest.mark.parametrize("tenant", ["closed", "None"])
def test_without_an_entry_or_a_tenant_no_words_leave(tmp_path: Path, tenant: str) -> None:
    server = run(tmp_path)
    assert asked(server, tenant) == ""
    assert f"words of {tenant}".encode() not in server.bytes
    assert f"ask of {tenant}".encode() not in server.bytes


def test_never_overrides_the_file(tmp_path: Path) -> None:
    server = run(tmp_path, SOMATRACE_CONTENT="never")
    assert b"ask of" not in server.bytes


def test_an_expired_grant_reverts_to_none(tmp_path: Path) -> None:
    server = run(tmp_path, POLICY.replace(UNTIL, "2026-01-01"))
    assert asked(server, "open") == ""
    assert asked(server, "masked") != ""


def test_a_broken_file_grants_nothing_and_is_reported_once(tmp_path: Path) -> None:
    server = run(
        tmp_path, "tenants: [what", PROGRAM + "\nfrom somatrace import status\nassert status().problems"
    )
    assert b"ask of" not in server.bytes


def test_pseudonyms_are_the_same_within_a_tenant(tmp_path: Path) -> None:
    key = "at-least-sixteen-characters"
    first = asked(run(tmp_path, SOMATRACE_PSEUDONYM_KEY=key), "masked")
    second = asked(run(tmp_path, SOMATRACE_PSEUDONYM_KEY=key), "masked")
    assert "[EMAIL:" in first
    assert first == second


def test_a_changed_file_applies_to_later_calls(tmp_path: Path) -> None:
    program = """
    import os, time
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor
    from somatrace import bind, content, flush, init_tracing, span
    init_tracing("svc")
    exported = []
    class Watching(SpanProcessor):
        def on_end(self, span):
            exported.append("langfuse.observation.input" in span.attributes)
    trace.get_tracer_provider().add_span_processor(Watching())
    def call(name):
        with bind(tenant_id="late"), span(name):
            content(input="the words")
        flush(60)
    call("before")
    with open(os.environ["SOMATRACE_CONTENT_POLICY_FILE"], "w") as file:
        file.write("tenants: {late: {content: redacted}}")
    until = time.monotonic() + 60
    while not exported[-1] and time.monotonic() < until:
        time.sleep(0.1)
        call("after")
    """
    server = run(tmp_path, program=program)
    seen = ["langfuse.observation.input" in span.attributes for span in server.spans]
    assert seen[0] is False
    assert seen[-1] is True


def test_a_program_can_supply_its_policy_as_a_callable(tmp_path: Path) -> None:
    program = PROGRAM.replace(
        'init_tracing("svc")',
        "from somatrace import Config\n"
        "from somatrace.guard.policy import callable_source\n"
        "callable_source.LIMIT = 60.0\n"
        'init_tracing("svc", config=Config(content_policy=lambda t: "redacted" if t == "closed" else None))',
    )
    server = run(tmp_path, "default: none", program)
    assert "[EMAIL]" in asked(server, "closed")
    assert asked(server, "masked") == ""


def test_traceloop_properties_are_not_released_by_the_next_tenants_policy(tmp_path: Path) -> None:
    program = """
    from opentelemetry import trace
    from somatrace import bind, flush, init_tracing
    init_tracing("svc")
    with bind(tenant_id="masked"), trace.get_tracer("lib").start_as_current_span("call") as call:
        call.set_attribute("traceloop.association.properties.note", "words of the tenant before")
        call.set_attribute("gen_ai.input.messages", "words of this one")
    assert flush(60)
    """
    server = run(tmp_path, program=program)
    assert b"words of this one" in server.bytes
    assert b"words of the tenant before" not in server.bytes


def test_content_of_work_without_a_tenant_does_not_leave_below_an_opted_in_one(tmp_path: Path) -> None:
    program = """
    import multiprocessing
    from somatrace import bind, content, flush, init_tracing, span
    init_tracing("svc")
    def ask(name):
        with span(name, kind="llm"):
            content(input="the words of nobody")
        flush(60)
    if __name__ == "__main__":
        with span("call-open", tenant_id="open"):
            content(input="the words of open")
            for number, nobody in enumerate((None, "", "x" * 201, 7)):
                with bind(tenant_id=nobody):
                    ask(f"here-{number}")
                    for method in ("fork", "spawn"):
                        child = multiprocessing.get_context(method).Process(target=ask, args=(method,))
                        child.start()
                        child.join(60)
            ask("inherits")
    """
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    with otlp_server() as server:
        run_program(
            program, otlp_env(server.url, SOMATRACE_CONTENT_POLICY_FILE=str(file)), directory=tmp_path
        )
        server.wait_for(14)
    read = {
        found.name: (found.attributes["tenant_id"], "the words of" in str(found)) for found in server.spans
    }
    assert len(server.spans) == 14
    assert read == {
        "call-open": ("open", True),
        "inherits": ("open", True),
        **{f"here-{number}": ("unknown", False) for number in range(4)},
        "fork": ("unknown", False),
        "spawn": ("unknown", False),
    }
