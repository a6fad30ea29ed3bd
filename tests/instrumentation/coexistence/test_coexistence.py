"""Beside another OpenTelemetry setup, spans arrive once with tags, and its exporters get guarded copies."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.llm_server import CANARIES, llm_server
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program

PRELUDE = f"""
    import somatrace
    from somatrace import bind, flush, init_tracing, span, status
    from opentelemetry import trace
    PROMPT, SYSTEM, ANSWER, KEY = {CANARIES!r}
    """

CALL = """
    import openai

    def call(model):
        openai.OpenAI(max_retries=0).chat.completions.create(
            model=model, messages=[{"role": "user", "content": PROMPT}])

    with bind(tenant_id="acme"), span("outer"):
        call("m")
        try:
            call("fail-401")
        except openai.AuthenticationError:
            pass
    flush(60)
    """


def _clean(server: OtlpServer) -> bool:
    return not [canary for canary in CANARIES if canary.encode() in server.bytes]


def _auto_instrumented(source: str, directory: Path, env: dict[str, str]) -> None:
    script = directory / "prog.py"
    script.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(script)],
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "litellm,langchain,chromadb,mcp,boto3,sagemaker,urllib3",
            **env,
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_under_opentelemetry_instrument_both_targets_get_each_guarded_span_once(tmp_path: Path) -> None:
    source = PRELUDE + 'init_tracing("svc")\n' + CALL + "assert status().unprotected == (), status()\n"
    with llm_server() as llm, otlp_server() as ours, otlp_server() as theirs:
        env = {
            **llm.env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": theirs.url,
            "SOMATRACE_TARGET": "otlp",
            "SOMATRACE_ENDPOINT": ours.traces_url,
        }
        _auto_instrumented(textwrap.dedent(source), tmp_path, env)

        for server in (ours, theirs):
            assert len(server.named("outer")) == 1
            assert len(server.named("openai.chat")) == 2
            assert len({span.span_id for span in server.spans}) == len(server.spans)
            assert {span.attributes["tenant_id"] for span in server.spans} == {"acme"}
            assert _clean(server)
        assert {span.resource["service.name"] for span in ours.spans} == {"svc"}


@pytest.mark.slow
def test_an_exporter_with_the_targets_address_and_keys_does_not_send_spans_twice(tmp_path: Path) -> None:
    source = PRELUDE + 'init_tracing("svc")\n' + CALL
    with llm_server() as llm, otlp_server() as ours:
        env = {
            **llm.env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": ours.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret",
        }
        _auto_instrumented(textwrap.dedent(source), tmp_path, env)

        assert len(ours.named("outer")) == 1
        assert len(ours.named("openai.chat")) == 2
        assert _clean(ours)


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["SimpleSpanProcessor", "BatchSpanProcessor"])
def test_a_provider_set_by_the_program_is_guarded_with_its_earlier_tracers(processor: str) -> None:
    source = (
        PRELUDE
        + f"""
    import os
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor({processor}(memory))
    provider.add_span_processor({processor}(OTLPSpanExporter(os.environ["SECOND"])))
    trace.set_tracer_provider(provider)
    early = trace.get_tracer("early")

    init_tracing("svc")
    late = InMemorySpanExporter()
    provider.add_span_processor({processor}(late))
    with bind(tenant_id="acme"):
        with early.start_as_current_span("early", attributes={{"gen_ai.input.messages": PROMPT}}) as mine:
            mine.add_event("said", {{"text": ANSWER}})
            mine.set_status(trace.StatusCode.ERROR, KEY)
            assert trace.get_current_span() is mine
            assert mine.attributes["gen_ai.input.messages"] == PROMPT  # the program reads back its own value
    """
        + CALL
        + """
    provider.force_flush()
    flush(60)
    for exporter in (memory, late):
        spans = exporter.get_finished_spans()
        assert sorted(s.name for s in spans) == ["early", "openai.chat", "openai.chat", "outer"], spans
        seen = str([s.to_json() for s in spans])
        assert not [canary for canary in (PROMPT, SYSTEM, ANSWER, KEY) if canary in seen]
        assert {s.attributes["tenant_id"] for s in spans} == {"acme"}
    assert status().unprotected == ()
    """
    )
    with llm_server() as llm, otlp_server() as ours, otlp_server() as theirs:
        run_program(source, otlp_env(ours.url, SECOND=theirs.traces_url, **llm.env), timeout=280)

        for server in (ours, theirs):
            assert sorted(span.name for span in server.spans) == [
                "early",
                "openai.chat",
                "openai.chat",
                "outer",
            ]
            assert {span.attributes["tenant_id"] for span in server.spans} == {"acme"}
            assert _clean(server)


@pytest.mark.slow
def test_with_a_provider_that_cannot_be_guarded_nothing_is_exported_or_instrumented() -> None:
    source = (
        PRELUDE
        + """
    made = []

    class ThirdPartyTracer(trace.NoOpTracer):
        def start_span(self, name, *args, **kwargs):
            made.append(name)
            return super().start_span(name, *args, **kwargs)

        def start_as_current_span(self, name, *args, **kwargs):
            made.append(name)
            return super().start_as_current_span(name, *args, **kwargs)

    class ThirdParty(trace.NoOpTracerProvider):
        def get_tracer(self, *args, **kwargs):
            return ThirdPartyTracer()

    trace.set_tracer_provider(ThirdParty())
    init_tracing("svc")
    """
        + CALL
        + """
    assert made == ["outer"], made  # the program's own span; no client is instrumented
    (reason,) = status().unprotected
    assert "ThirdParty" in reason, reason
    assert not status().available
    assert [line for line in status().problems if "nothing is exported" in line]
    """
    )
    with llm_server() as llm, otlp_server() as ours:
        run_program(source, otlp_env(ours.url, **llm.env), timeout=180)

        assert ours.requests == 0


@pytest.mark.slow
def test_spans_of_tasks_on_uvloop_arrive_with_their_tenants() -> None:
    source = (
        PRELUDE
        + """
    import asyncio, uvloop, openai
    init_tracing("svc")

    async def work(tenant):
        async with bind(tenant_id=tenant):
            async with openai.AsyncOpenAI(max_retries=0) as client:
                await client.chat.completions.create(
                    model=tenant, messages=[{"role": "user", "content": PROMPT}])
                # a synchronous client inside the running loop
                openai.OpenAI().chat.completions.create(
                    model=tenant, messages=[{"role": "user", "content": PROMPT}])

    async def work_for_all():
        await asyncio.gather(*(work(f"tenant-{number}") for number in range(8)))

    uvloop.run(work_for_all())
    assert flush(60)
    """
    )
    with llm_server() as llm, otlp_server() as ours:
        run_program(source, otlp_env(ours.url, **llm.env), timeout=180)

        assert len(ours.spans) == 16
        for span in ours.spans:
            assert span.attributes["tenant_id"] == span.attributes["gen_ai.request.model"]
        assert _clean(ours)
