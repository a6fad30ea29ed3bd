"""With the langfuse SDK in the same process, its spans are tagged, guarded and arrive once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest

from tests.support.llm_server import CANARIES, LlmServer, llm_server
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import run_program

PROGRAM = f"""
    import os, somatrace
    from somatrace import bind, init_tracing, span, status
    PROMPT, SYSTEM, ANSWER, KEY = {CANARIES!r}
    order, other = os.environ["ORDER"], os.environ["PROJECT"] == "another"
    if order == "after":
        init_tracing("svc")
    from langfuse import Langfuse, get_client, observe, propagate_attributes
    another = dict(public_key="pk-lf-other", secret_key="sk-lf-other", base_url=os.environ["SECOND"])
    langfuse = Langfuse(**another) if other else Langfuse()
    if order == "before":
        init_tracing("svc")
    import openai

    @observe()
    def joke(q):
        return openai.OpenAI().chat.completions.create(model="m", messages=[{{"role": "user", "content": q}}])

    with bind(tenant_id="acme"), span("outer"):
        metadata = {{"tenant_id": "evil"}}
        tags = ["beta", "tenant:evil"]
        with propagate_attributes(session_id="s-1", trace_name="joke-run", tags=tags, metadata=metadata):
            joke(PROMPT)
            with langfuse.start_as_current_observation(
                name="gen", as_type="generation", model="m", input=PROMPT
            ) as generation:
                generation.update(output=ANSWER, usage_details={{"input": 1, "output": 2}})
    get_client().flush()
    assert status().problems == (), status().problems
    assert status().unprotected == ()
    from langfuse._client.resource_manager import LangfuseResourceManager
    for manager in LangfuseResourceManager._instances.values():
        for processor in manager.tracer_provider._active_span_processor._span_processors:
            for inner in (processor, *getattr(processor, "third_party", ())):
                assert not getattr(inner, "_span_export_expectation_by_id", None), "started spans are kept"
    """


@dataclass
class Run:
    ours: OtlpServer
    second: OtlpServer
    llm: LlmServer
    done: CompletedProcess[str]


def _run(source: str, **env: str) -> Iterator[Run]:
    with llm_server() as llm, otlp_server() as ours, otlp_server() as second:
        keys = {
            "LANGFUSE_PUBLIC_KEY": "pk-lf-ours",
            "LANGFUSE_SECRET_KEY": "sk-lf-ours",
            "LANGFUSE_BASE_URL": ours.url,
        }
        done = run_program(source, {**keys, "SECOND": second.url, **llm.env, **env}, timeout=280)
        yield Run(ours, second, llm, done)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["before", "after"])
def test_spans_of_a_client_of_the_same_project_arrive_once_with_tags(order: str) -> None:
    for run in _run(PROGRAM, ORDER=order, PROJECT="ours"):
        assert sorted(span.name for span in run.ours.spans) == ["gen", "joke", "openai.chat", "outer"]
        assert {span.attributes["tenant_id"] for span in run.ours.spans} == {"acme"}
        assert {span.attributes["langfuse.trace.metadata.tenant_id"] for span in run.ours.spans} == {"acme"}
        assert all(span.attributes["langfuse.trace.tags"][0] == "tenant:acme" for span in run.ours.spans)
        inside = [span for span in run.ours.spans if span.name != "outer"]
        assert {span.attributes["session.id"] for span in inside} == {"s-1"}  # its on_start is kept
        assert all("beta" in span.attributes["langfuse.trace.tags"] for span in inside)
        assert "tenant:evil" not in str([span.attributes["langfuse.trace.tags"] for span in run.ours.spans])
        assert {span.attributes["langfuse.trace.name"] for span in run.ours.spans} == {"joke-run"}
        assert not [span for span in inside if "langfuse.internal.is_app_root" in span.attributes]
        assert set(run.ours.paths) == {"/api/public/otel/v1/traces"}
        assert {headers["x-langfuse-sdk-name"] for headers in run.ours.headers} == {"somatrace"}
        assert not [canary for canary in CANARIES if canary.encode() in run.ours.bytes]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_client_of_another_project_exports_guarded_copies(order: str) -> None:
    for run in _run(PROGRAM, ORDER=order, PROJECT="another"):
        assert sorted(span.name for span in run.ours.spans) == ["gen", "joke", "openai.chat", "outer"]
        assert {"gen", "joke"} <= {span.name for span in run.second.spans}
        for server in (run.ours, run.second):
            assert {span.attributes["tenant_id"] for span in server.spans} == {"acme"}
            assert not [canary for canary in CANARIES if canary.encode() in server.bytes]


@pytest.mark.slow
def test_an_unreachable_target_does_not_delay_the_exit_of_a_program_with_the_langfuse_sdk() -> None:
    source = """
        from somatrace import init_tracing
        init_tracing("svc")
        from langfuse import get_client
        with get_client().start_as_current_observation(name="work"):
            pass
        """
    with otlp_server() as closed:
        pass
    keys = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": "sk-lf-1",
        "LANGFUSE_BASE_URL": closed.url,
    }

    run_program(source, keys, timeout=180)  # the SDK's exit handler flushes the provider, 30 s by default


@pytest.mark.slow
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_call_through_the_sdks_openai_replacement_has_its_tokens_on_one_span(order: str) -> None:
    source = """
        import asyncio, os
        from somatrace import bind, init_tracing, status
        if os.environ["ORDER"] == "after":
            init_tracing("svc")
        from langfuse.openai import AsyncOpenAI, OpenAI
        if os.environ["ORDER"] == "before":
            init_tracing("svc")
        from langchain_openai import ChatOpenAI
        client = OpenAI(max_retries=0)
        user = [{"role": "user", "content": "hello"}]
        with bind(tenant_id="acme"):
            client.chat.completions.create(model="chat", messages=user, name="mine")
            for _ in client.chat.completions.create(
                model="stream", messages=user, stream=True, stream_options={"include_usage": True}):
                pass
            client.responses.create(model="responses", input="hello")
            client.embeddings.create(model="embedding", input="hello")
            asyncio.run(AsyncOpenAI(max_retries=0).chat.completions.create(model="async", messages=user))
            ChatOpenAI(model="framework").invoke("hello")
        assert status().problems == (), status().problems
        """
    for run in _run(source, ORDER=order):
        models = [
            span.attributes.get("gen_ai.request.model") or span.attributes["langfuse.observation.model.name"]
            for span in run.ours.spans
            if {"gen_ai.usage.input_tokens", "langfuse.observation.usage_details"} & span.attributes.keys()
        ]
        assert sorted(models) == ["async", "chat", "embedding", "framework", "responses", "stream"]
        assert len(run.ours.named("mine")) == 1
        assert {span.attributes["tenant_id"] for span in run.ours.spans} == {"acme"}


@pytest.mark.slow
def test_importing_the_sdks_langchain_handler_is_reported() -> None:
    done = run_program(
        """
        import somatrace
        somatrace.init_tracing("svc")
        from langfuse.langchain import CallbackHandler
        print(somatrace.status().problems)
        """,
        {"SOMATRACE_TARGET": "none"},
    )

    assert "makes a second span with tokens" in done.stdout
    assert "remove its CallbackHandler" in done.stdout
