"""A trace that the target has taken: read back, compared with what was sent, searched for content."""

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


def test_a_trace_that_arrives_whole_is_0(smoke, backend):
    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (0, "ok"), report
    assert names(report) == [
        "the target answers",
        "no planted content in the bytes that were sent",
        *(f"{name}, sent" for name in CHECKED),
        "no planted content in what was read back",
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


def test_without_the_langfuse_package_it_is_read_by_plain_http_and_that_is_said(smoke, backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "langfuse", None)

    report = smoke(backend.env)

    assert report.exit_code == 0, report
    assert any("read back by plain HTTP" in note for note in report.notes)


def test_an_older_server_is_read_through_v1(smoke, backend):
    backend.version = 1

    report = smoke(backend.env)

    assert report.exit_code == 0, report
    assert any(path.startswith(V1) for path in backend.asked)
    assert any("v1" in note for note in report.notes)


def test_langfuse_behind_the_names_of_otlp_is_read_back_too(smoke, backend):
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


def test_without_openai_the_call_is_made_by_hand_and_that_is_said(smoke, backend, by_hand):
    report = smoke(backend.env)

    assert (report.exit_code, report.made_by) == (0, "by hand"), report
    assert any("by hand" in note for note in report.notes)


def test_without_the_model_server_the_call_is_made_by_hand(smoke, backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    report = smoke(backend.env)

    assert (report.exit_code, report.made_by) == (0, "by hand"), report


def test_sampling_is_set_aside_for_this_trace_and_that_is_said(smoke, backend):
    report = smoke({**backend.env, "OTEL_TRACES_SAMPLER": "always_off"})

    assert report.exit_code == 0, report
    assert any("sampling is set aside" in note for note in report.notes)


def test_settings_may_come_from_an_env_file(smoke, backend, tmp_path):
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in backend.env.items()))

    assert smoke({}, env_file=str(file)).exit_code == 0


def test_a_real_call_uses_the_users_own_client_settings(smoke, backend):
    with llm_server() as server:
        report = smoke({**backend.env, **server.env}, real=True, model="gpt-x")

        assert report.exit_code == 0, report
        assert report.made_by.endswith("from your own model")
        assert [headers["authorization"] for headers in server.headers] == [f"Bearer {KEY}"]


def test_a_real_call_that_fails_is_2_and_says_neither_key_nor_prompt(smoke, backend):
    with llm_server() as server:
        report = smoke({**backend.env, **server.env}, real=True, model="fail-401")

    assert (report.exit_code, report.message) == (2, "the model call failed: AuthenticationError, status 401")
    assert KEY not in report.as_json()
    assert PROMPT not in report.as_json()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"SOMATRACE_ENABLED": "false"}, "SOMATRACE_ENABLED switches tracing off"),
        ({"SOMATRACE_TARGET": "none"}, "the target is none"),
        ({"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_HOST": "http://localhost"}, "the target is none"),
    ],
)
def test_where_nothing_would_be_sent_it_is_2(smoke, env, said):
    report = smoke(env)

    assert (report.exit_code, report.outcome) == (2, "off")
    assert said in report.message


# -- accepted, and then -------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_never_becomes_visible_is_16(smoke, backend, by_hand):
    backend.alter = lambda found: []

    report = smoke(backend.env, timeout=6.0)

    assert (report.exit_code, report.outcome) == (16, "invisible")
    assert re.fullmatch(r"accepted, but not visible within \d+ s: 0 of 2 spans", report.message)
    assert report.trace_id


@pytest.mark.slow
def test_what_becomes_visible_in_part_is_16(smoke, backend, by_hand):
    backend.alter = lambda found: found[:1]

    assert smoke(backend.env, timeout=6.0).message.endswith("1 of 2 spans")


@pytest.mark.slow
def test_a_read_api_that_fails_is_16(smoke, backend, by_hand):
    backend.reading = lambda: (500, {"message": "no clickhouse"})

    report = smoke(backend.env, timeout=6.0)

    assert (report.exit_code, report.outcome) == (16, "unreadable")
    assert "500 from the API for reading" in report.message


@pytest.mark.slow
def test_a_read_api_that_answers_nonsense_or_never_is_16(smoke, backend, by_hand):
    for answer in ((200, "<html>a gateway's page</html>"), (200, {"data": [{"id": 1}]}), (-1, {})):
        backend.reading = lambda answer=answer: answer
        report = smoke(backend.env, timeout=6.0)
        assert report.exit_code == 16, answer
        assert "gateway's page" not in report.as_json()


def test_keys_that_may_write_and_not_read_are_13(smoke, backend):
    backend.reading = lambda: (403, {"message": "Access denied"})

    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (13, "unread")


def test_plain_otlp_is_17_and_what_was_sent_is_checked_all_the_same(smoke):
    with otlp_server() as server:
        report = smoke({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})

        assert (report.exit_code, report.outcome) == (17, "unverifiable"), report
        assert {found.trace_id for found in server.spans} == {report.trace_id}
    assert names(report)[1:] == [
        "no planted content in the bytes that were sent",
        *(f"{name}, sent" for name in CHECKED),
    ]


@pytest.mark.slow
def test_grpc_and_the_console_are_17(smoke):
    pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import grpc_server

    with grpc_server() as (_, port):
        endpoint = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        assert smoke(endpoint).exit_code == 17
    assert smoke({"SOMATRACE_TARGET": "console"}).exit_code == 17


def test_a_langfuse_path_without_an_api_to_read_is_17(smoke, backend):
    backend.version = 0

    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (17, "unverifiable")


def without(field: str, *, inner: str | None = None):
    """An `alter` that takes a field away from every observation."""

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
def test_what_the_backend_drops_or_changes_is_18(smoke, backend, by_hand, alter, missing):
    backend.alter = alter

    report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (18, "incomplete")
    assert missing in report.message


# -- a service in which something is broken -----------------------------------------------------------


def child(tmp_path: Path, source: str) -> tuple[str, ...]:
    """A program in place of the one that makes the trace."""
    script = tmp_path / "child.py"
    script.write_text(source + "\nfrom somatrace.smoke import child\nraise SystemExit(child.main())\n")
    return (sys.executable, str(script))


NO_GUARD = """
from somatrace.pipeline.guarded_copy import SpanCopier
guarded = SpanCopier.copy
def copy(self, span, *more):
    out = guarded(self, span, *more)
    out._attributes = {**dict(out.attributes), **dict(span.attributes)}
    return out
SpanCopier.copy = copy
"""
NO_TAGS = """
from somatrace.pipeline.guarded_copy import SpanCopier
guarded = SpanCopier.copy
def copy(self, span, *more):
    out = guarded(self, span, *more)
    out._attributes = {key: value for key, value in out.attributes.items() if "tenant" not in key}
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
FOREIGN_PROVIDER = """
from opentelemetry import trace
class Theirs(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()
trace.set_tracer_provider(Theirs())
"""


@pytest.mark.slow
def test_content_in_the_bytes_that_are_sent_is_19_whatever_the_target(smoke, backend, tmp_path):
    broken = child(tmp_path, NO_GUARD)

    for env in (backend.env, {**backend.env, "SOMATRACE_TARGET": "local"}):
        report = smoke(env, child=broken)
        assert (report.exit_code, report.outcome) == (19, "leaked"), report
        assert "e-mail address and secret and prompt in the bytes that were sent" in report.message
    with otlp_server() as server:
        report = smoke({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "SOMATRACE_TARGET": "otlp"}, child=broken)
        assert report.exit_code == 19


@pytest.mark.slow
def test_a_leak_is_told_even_where_the_target_refuses_it(smoke, backend, tmp_path):
    backend.export = lambda body: (500, {}) if body else None

    assert smoke(backend.env, child=child(tmp_path, NO_GUARD)).exit_code == 19


@pytest.mark.slow
def test_content_that_another_exporter_brings_there_is_19(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, ANOTHER_EXPORTER))

    assert (report.exit_code, report.outcome) == (19, "shown"), report


@pytest.mark.slow
def test_redacted_content_may_leave_and_what_it_must_not_hold_is_still_looked_for(smoke, backend, tmp_path):
    report = smoke({**backend.env, "SOMATRACE_CONTENT": "redacted"})
    assert report.exit_code == 0, report
    assert any("redacted" in note for note in report.notes)

    report = smoke({**backend.env, "SOMATRACE_CONTENT": "redacted"}, child=child(tmp_path, NO_GUARD))
    assert report.message == "content leaked: e-mail address and secret in the bytes that were sent"


def test_tags_that_are_missing_before_anything_is_sent_are_18(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, NO_TAGS))

    assert (report.exit_code, report.outcome) == (18, "unsound"), report


def test_a_provider_that_cannot_be_guarded_is_16_because_nothing_is_sent(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, FOREIGN_PROVIDER))

    assert (report.exit_code, report.outcome) == (16, "unsent"), report
    assert "not the SDK's" in report.message


def test_spans_that_the_guard_cannot_judge_are_not_sent_and_that_is_16(smoke, backend, tmp_path):
    faulty = "from somatrace.pipeline.guarded_copy import SpanCopier\nSpanCopier.copy = None"

    report = smoke(backend.env, child=child(tmp_path, faulty))

    assert (report.exit_code, report.outcome) == (16, "unsent")
    assert report.message == "nothing left the process: 2 spans lost: guard"


def test_a_child_process_that_fails_is_1_and_only_the_kind_of_its_failure_is_said(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, "raise KeyError('EXCEPTIONSECRET')"))

    assert report.message == "the trace could not be made: its process ended with exit code 1 (KeyError)"
    assert report.exit_code == 1


@pytest.mark.slow
def test_a_child_process_that_hangs_is_ended(smoke, backend, tmp_path):
    report = smoke(backend.env, child=child(tmp_path, "import time; time.sleep(600)"), timeout=3.0)

    assert (report.exit_code, report.outcome) == (1, "broken")
    assert "not done within 3 s" in report.message
