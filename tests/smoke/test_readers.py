"""An accepted trace is read back, compared with the one sent and searched for content."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.smoke.backend import V1, V2
from tests.support.llm_server import KEY, PROMPT, llm_server
from tests.support.otlp_server import otlp_server

CHECKED = ("tags on every span", "one model call, and its model", "usage", "parents")


def names(report) -> list[str]:
    return [check.name for check in report.checks if check.ok]


def test_a_complete_trace_exits_with_0(smoke, backend):
    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (0, "ok"), report
    assert names(report) == [
        "the target answers",
        "no planted content in the bytes sent",
        *(f"{name}, sent" for name in CHECKED),
        "no planted content in the trace read back",
        *(f"{name}, read back" for name in CHECKED),
    ]
    assert report.spans == 2
    assert report.made_by.startswith("by the openai client")
    assert report.seconds_to_visible is not None
    assert set(backend.asked) == {V2}
    assert report.notes == ()


def test_with_nothing_configured_the_embedded_store_is_read(smoke):
    report = smoke({})

    assert (report.exit_code, report.target) == (0, "local (default)"), report


def test_without_the_langfuse_package_it_reads_over_plain_http_with_a_note(smoke, backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "langfuse", None)

    report = smoke(backend.env)

    assert report.exit_code == 0, report
    assert any("read back over plain HTTP" in note for note in report.notes)


def test_an_older_server_is_read_through_v1(smoke, backend):
    backend.version = 1

    report = smoke(backend.env)

    assert report.exit_code == 0, report
    assert any(path.startswith(V1) for path in backend.asked)
    assert any("v1" in note for note in report.notes)


def test_langfuse_configured_as_an_otlp_endpoint_is_read_back_too(smoke, backend):
    import base64

    pair = base64.b64encode(
        f"{backend.env['LANGFUSE_PUBLIC_KEY']}:{backend.env['LANGFUSE_SECRET_KEY']}".encode()
    )
    report = smoke(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{backend.url}/api/public/otel",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Basic%20{pair.decode()}",
        }
    )

    assert (report.exit_code, report.target.partition(" ")[0]) == (0, "otlp"), report


def test_without_openai_the_call_is_made_by_hand_with_a_note(smoke, backend, by_hand):
    report = smoke(backend.env)

    assert (report.exit_code, report.made_by) == (0, "by hand"), report
    assert any("by hand" in note for note in report.notes)


def test_without_the_model_server_the_call_is_made_by_hand(smoke, backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    report = smoke(backend.env)

    assert (report.exit_code, report.made_by) == (0, "by hand"), report


def test_sampling_is_disabled_for_this_trace_with_a_note(smoke, backend):
    report = smoke({**backend.env, "OTEL_TRACES_SAMPLER": "always_off"})

    assert report.exit_code == 0, report
    assert any("sampling is disabled" in note for note in report.notes)


def test_settings_can_come_from_an_env_file(smoke, backend, tmp_path):
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in backend.env.items()))

    assert smoke({}, env_file=str(file)).exit_code == 0


def test_a_real_call_uses_the_users_own_client_settings(smoke, backend):
    with llm_server() as server:
        report = smoke({**backend.env, **server.env}, real=True, model="gpt-x")

        assert report.exit_code == 0, report
        assert report.made_by.endswith("calling your own model")
        assert [headers["authorization"] for headers in server.headers] == [f"Bearer {KEY}"]


def test_a_failed_real_call_exits_with_2_and_shows_neither_key_nor_prompt(smoke, backend):
    with llm_server() as server:
        report = smoke({**backend.env, **server.env}, real=True, model="fail-401")

    assert (report.exit_code, report.message) == (2, "the model call failed: AuthenticationError, status 401")
    assert KEY not in report.as_json()
    assert PROMPT not in report.as_json()


LANGFUSE_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SOMATRACE_ENABLED": "false"}, "SOMATRACE_ENABLED disables tracing"),
        ({"SOMATRACE_TARGET": "none"}, "the target is none"),
        ({"SOMATRACE_DATA_DIR": "/dev/null/traces"}, "SOMATRACE_DATA_DIR: no directory for the local store"),
    ],
)
def test_it_exits_with_2_when_nothing_would_be_sent(smoke, env, expected):
    report = smoke(env)

    assert (report.exit_code, report.outcome) == (2, "off")
    assert expected in report.message


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_HOST": "http://localhost"}, "LANGFUSE_SECRET_KEY"),
        ({**LANGFUSE_KEYS}, "LANGFUSE_BASE_URL"),
        ({**LANGFUSE_KEYS, "LANGFUSE_HOST": "localhost:3000"}, "LANGFUSE_HOST"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"SOMATRACE_TARGET": "langfus"}, "SOMATRACE_TARGET"),
    ],
)
def test_it_exits_with_2_when_the_configured_target_cannot_be_used(smoke, env, named):
    report = smoke(env)

    assert (report.exit_code, report.outcome) == (2, "unusable")
    assert report.message.startswith(f"the configured target is not used: {named}: ")
    assert report.trace_id == ""


def test_a_misspelled_variable_is_a_note(smoke, by_hand):
    report = smoke({"SOMATRACE_TARGT": "langfuse"})

    assert any("did you mean SOMATRACE_TARGET?" in note for note in report.notes)


# -- after acceptance --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trace_that_never_becomes_visible_exits_with_16(smoke, backend, by_hand):
    backend.alter = lambda observations: []

    report = smoke(backend.env, timeout=6.0)

    assert (report.exit_code, report.outcome) == (16, "invisible")
    assert re.fullmatch(r"accepted, but not visible within \d+ s: 0 of 2 spans", report.message)
    assert report.trace_id


@pytest.mark.slow
def test_a_partially_visible_trace_exits_with_16(smoke, backend, by_hand):
    backend.alter = lambda observations: observations[:1]

    assert smoke(backend.env, timeout=6.0).message.endswith("1 of 2 spans")


@pytest.mark.slow
def test_a_failing_read_api_exits_with_16(smoke, backend, by_hand):
    backend.reading = lambda: (500, {"message": "no clickhouse"})

    report = smoke(backend.env, timeout=6.0)

    assert (report.exit_code, report.outcome) == (16, "unreadable")
    assert "500 from the read API" in report.message


@pytest.mark.slow
def test_a_read_api_that_answers_nonsense_or_never_exits_with_16(smoke, backend, by_hand):
    for answer in ((200, "<html>a gateway's page</html>"), (200, {"data": [{"id": 1}]}), (-1, {})):
        backend.reading = lambda answer=answer: answer
        report = smoke(backend.env, timeout=6.0)
        assert report.exit_code == 16, answer
        assert "gateway's page" not in report.as_json()


def test_write_only_keys_exit_with_13(smoke, backend):
    backend.reading = lambda: (403, {"message": "Access denied"})

    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (13, "unread")


def test_plain_otlp_exits_with_17_but_the_bytes_sent_are_checked(smoke):
    with otlp_server() as server:
        report = smoke({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})

        assert (report.exit_code, report.outcome) == (17, "unverifiable"), report
        assert {found.trace_id for found in server.spans} == {report.trace_id}
    assert names(report)[1:] == [
        "no planted content in the bytes sent",
        *(f"{name}, sent" for name in CHECKED),
    ]


@pytest.mark.slow
def test_grpc_and_the_console_exit_with_17(smoke):
    pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import grpc_server

    with grpc_server() as (_, port):
        endpoint = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        assert smoke(endpoint).exit_code == 17
    assert smoke({"SOMATRACE_TARGET": "console"}).exit_code == 17


def test_a_langfuse_path_without_a_read_api_exits_with_17(smoke, backend):
    backend.version = 0

    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (17, "unverifiable")


def without(field: str, *, inner: str | None = None):
    """An `alter` that removes a field from every observation."""

    def alter(found):
        for each in found:
            if inner is None:
                each[field] = None
            else:
                each[field].pop(inner, None)
        return found

    return alter


@pytest.mark.parametrize(
    ("alter", "missing"),
    [
        (without("metadata", inner="tenant_id"), "lacks tenant_id"),
        (without("metadata"), "lacks tenant_id, workflow_name"),
        (without("tags"), "lacks agent:smoke-agent, tenant:somatrace-smoke, workflow:smoke"),
        (without("traceName"), "lacks traceName"),
        (without("sessionId"), "lacks sessionId"),
        (lambda found: [{**each, "model": None, "providedModelName": None} for each in found], "no model"),
        (lambda found: [{**each, "model": "x", "providedModelName": "x"} for each in found], "another model"),
        (lambda found: [{**each, "type": "SPAN"} for each in found], "0 model calls instead of one"),
        (without("usageDetails"), "0 input tokens instead of"),
        (lambda found: [{**each, "parentObservationId": None} for each in found], "wrong parent"),
        (lambda found: [{**each, "parentObservationId": "f" * 16} for each in found], "wrong parent"),
    ],
)
def test_data_dropped_or_changed_by_the_backend_exits_with_18(smoke, backend, by_hand, alter, missing):
    backend.alter = alter

    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (18, "incomplete")
    assert missing in report.message


# -- broken services ----------------------------------------------------------------------------------


def child(tmp_path: Path, source: str) -> tuple[str, ...]:
    """A modified child program that creates the trace."""
    script = tmp_path / "child.py"
    script.write_text(source + "\nfrom somatrace.smoke import child\nraise SystemExit(child.main())\n")
    return (sys.executable, str(script))


EACH_COPIED = """
from somatrace.pipeline.direct_encoding import DirectEncoder
DirectEncoder.encode = lambda *_, **__: None
"""
NO_GUARD = f"""{EACH_COPIED}
from somatrace.pipeline.guarded_copy import SpanCopier
guarded = SpanCopier.copy
def copy(self, span, *more, **named):
    out = guarded(self, span, *more, **named)
    out._attributes = {{**dict(out.attributes), **dict(span.attributes)}}
    return out
SpanCopier.copy = copy
"""
NO_TAGS = f"""{EACH_COPIED}
from somatrace.pipeline.guarded_copy import SpanCopier
guarded = SpanCopier.copy
def copy(self, span, *more, **named):
    out = guarded(self, span, *more, **named)
    out._attributes = {{key: value for key, value in out.attributes.items() if "tenant" not in key}}
    return out
SpanCopier.copy = copy
"""
ANOTHER_EXPORTER = """
import os, urllib.request
from somatrace.smoke import child
traced = child._traced
def also(order):
    result = traced(order)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(
        name="past the guard", trace_id=bytes.fromhex(result["trace_id"]), span_id=os.urandom(8),
        start_time_unix_nano=1, end_time_unix_nano=2)
    span.attributes.add(key="langfuse.observation.input").value.string_value = order["prompt"]
    from somatrace.config import resolve
    target = resolve("x").target
    headers = {**target.headers, "Content-Type": "application/x-protobuf"}
    headers = {**target.headers, "Content-Type": "application/x-protobuf"}
    urllib.request.urlopen(urllib.request.Request(
        target.url, request.SerializeToString(), headers))
    return result
child._traced = also
"""
THIRD_PARTY_PROVIDER = """
from opentelemetry import trace
class Theirs(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()
trace.set_tracer_provider(Theirs())
"""


@pytest.mark.slow
def test_content_in_the_bytes_sent_exits_with_19_for_every_target(smoke, backend, tmp_path):
    broken = child(tmp_path, NO_GUARD)

    for env in (backend.env, {**backend.env, "SOMATRACE_TARGET": "local"}):
        report = smoke(env, child=broken)
        assert (report.exit_code, report.outcome) == (19, "leaked"), report
        assert "e-mail address and secret and prompt in the bytes sent" in report.message
    with otlp_server() as server:
        report = smoke({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "SOMATRACE_TARGET": "otlp"}, child=broken)
        assert report.exit_code == 19


@pytest.mark.slow
def test_a_leak_is_reported_even_when_the_target_rejects_the_trace(smoke, backend, tmp_path):
    backend.export = lambda body: (500, {}) if body else None

    assert smoke(backend.env, child=child(tmp_path, NO_GUARD)).exit_code == 19


@pytest.mark.slow
def test_content_sent_by_another_exporter_exits_with_19(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, ANOTHER_EXPORTER))

    assert (report.exit_code, report.outcome) == (19, "shown"), report


@pytest.mark.slow
def test_redacted_content_may_leave_but_other_canaries_are_still_searched_for(smoke, backend, tmp_path):
    report = smoke({**backend.env, "SOMATRACE_CONTENT": "redacted"})
    assert report.exit_code == 0, report
    assert any("redacted" in note for note in report.notes)

    report = smoke({**backend.env, "SOMATRACE_CONTENT": "redacted"}, child=child(tmp_path, NO_GUARD))
    assert report.message == "content leaked: e-mail address and secret in the bytes sent"


def test_tags_missing_from_the_bytes_sent_exit_with_18(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, NO_TAGS))

    assert (report.exit_code, report.outcome) == (18, "unsound"), report


def test_a_provider_that_cannot_be_guarded_exits_with_16_since_nothing_is_sent(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, THIRD_PARTY_PROVIDER))

    assert (report.exit_code, report.outcome) == (16, "unsent"), report
    assert "not the SDK's" in report.message


def test_spans_that_the_guard_fails_on_are_not_sent_and_exit_with_16(smoke, backend, tmp_path):
    faulty = f"{EACH_COPIED}from somatrace.pipeline.guarded_copy import SpanCopier\nSpanCopier.copy = None"

    report = smoke(backend.env, child=child(tmp_path, faulty))

    assert (report.exit_code, report.outcome) == (16, "unsent")
    assert report.message == "no span left the process: 2 spans lost: guard"


def test_a_failing_child_process_exits_with_1_and_shows_only_the_error_type(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, "raise KeyError('EXCEPTIONSECRET')"))

    assert report.message == "the trace could not be created: the child process exited with code 1 (KeyError)"
    assert report.exit_code == 1


@pytest.mark.slow
def test_a_hanging_child_process_is_killed(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, "import time; time.sleep(600)"), timeout=3.0)

    assert (report.exit_code, report.outcome) == (1, "broken")
    assert "did not finish within 3 s" in report.message
