"""Programs written for traceloop-sdk keep working, with somatrace's provider and tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest

from tests.support.llm_server import CANARIES, KEY, LlmServer, llm_server
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program

TAGS = ("tenant_id", "workflow_name", "agent_id")

DECORATED = f"""
    import asyncio, os, sys, threading, somatrace
    from somatrace import bind, init_tracing, span
    PROMPT, SYSTEM, ANSWER, KEY = {CANARIES!r}
    init_tracing("svc")
    assert not [name for name in sys.modules if name.startswith("traceloop")]
    before = dict(os.environ), sys.stdout, sys.stderr

    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import agent, task, tool, workflow
    import openai
    client = openai.OpenAI(max_retries=0)

    @tool(name="search")
    def search(q):
        return q + ANSWER

    @task(name="ask")
    def ask(q):
        return client.chat.completions.create(model="m", messages=[{{"role": "user", "content": q}}])

    @agent(name="planner")
    def plan(q):
        search(q)
        return ask(q)

    @workflow(name="joke")
    def joke(q):
        return plan(q)

    @workflow(name="stream")
    async def stream(q):
        yield q
        await asyncio.sleep(0)
        yield q

    @workflow(name="boom")
    def boom(q):
        raise ValueError(q)

    async def consume():
        async for _ in stream(PROMPT):
            pass

    with bind(tenant_id="acme"):
        joke(PROMPT)
        asyncio.run(consume())
        try:
            boom(PROMPT)
        except ValueError:
            pass
    Traceloop.set_association_properties({{"tenant_id": "evil", "user_id": "evil"}})  # never detached
    with bind(tenant_id="globex"):
        joke(PROMPT)
    joke(PROMPT)
    with span("ours", kind="workflow"), bind(tenant_id="initech"):
        joke(PROMPT)

    assert (dict(os.environ), sys.stdout, sys.stderr) == before
    own = [t.name for t in threading.enumerate() if t.name.startswith("somatrace") or t.name == "MainThread"]
    assert len(own) == threading.active_count(), threading.enumerate()
    assert somatrace.status().instruments["traceloop"] == "on"
    assert somatrace.status().problems == ()
    assert somatrace.flush(60)
    """


@dataclass
class Run:
    ours: OtlpServer
    second: OtlpServer
    llm: LlmServer
    done: CompletedProcess[str]


def _run(source: str, **env: str) -> Iterator[Run]:
    with llm_server() as llm, otlp_server() as ours, otlp_server() as second:
        settings = otlp_env(ours.url, SECOND=second.url, TRACELOOP_METRICS_ENABLED="false", **llm.env, **env)
        yield Run(ours, second, llm, run_program(source, settings, timeout=280))


@pytest.fixture(scope="module")
def decorated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield from _run(DECORATED, SOMATRACE_DATA_DIR=str(tmp_path_factory.mktemp("data")))


def _of(run: Run, tenant: str) -> dict[str, tuple[str, ...]]:
    """The tags of each span of a tenant, by span name. Fails if a span arrived twice."""
    spans = [span for span in run.ours.spans if span.attributes["tenant_id"] == tenant]
    tags = {span.name: tuple(span.attributes[tag] for tag in TAGS) for span in spans}
    assert len(tags) == len(spans)
    return tags


@pytest.mark.slow
class TestDecoratorsWithoutTraceloopInit:
    def test_each_decorated_call_is_one_span_named_after_workflow_and_agent(self, decorated: Run) -> None:
        assert _of(decorated, "globex") == {
            "joke.workflow": ("globex", "joke", "svc"),
            "planner.agent": ("globex", "joke", "planner"),
            "search.tool": ("globex", "joke", "planner"),
            "ask.task": ("globex", "joke", "planner"),
            "openai.chat": ("globex", "joke", "planner"),
        }

    def test_async_generators_and_failures_are_spans(self, decorated: Run) -> None:
        assert _of(decorated, "acme")["stream.workflow"] == ("acme", "stream", "svc")
        (boom,) = decorated.ours.named("boom.workflow")
        assert (boom.status_code, boom.status_message) == (2, "ValueError")

    def test_association_properties_do_not_become_tags(self, decorated: Run) -> None:
        tenants = {span.attributes["tenant_id"] for span in decorated.ours.spans}

        assert tenants == {"acme", "globex", "initech", "unknown"}
        assert b"evil" not in decorated.ours.bytes

    def test_an_enclosing_workflow_span_keeps_its_name(self, decorated: Run) -> None:
        assert _of(decorated, "initech")["joke.workflow"] == ("initech", "ours", "svc")

    def test_spans_form_one_tree(self, decorated: Run) -> None:
        spans = {s.span_id: s for s in decorated.ours.spans}
        (call,) = [s for s in decorated.ours.named("openai.chat") if s.attributes["tenant_id"] == "globex"]

        parents = []
        while call.parent_id:
            call = spans[call.parent_id]
            parents.append(call.name)
        assert parents == ["ask.task", "planner.agent", "joke.workflow"]

    def test_spans_have_langfuses_observation_types(self, decorated: Run) -> None:
        types = {s.name: s.attributes.get("langfuse.observation.type") for s in decorated.ours.spans}

        assert types["joke.workflow"] == "chain"
        assert types["planner.agent"] == "agent"
        assert types["search.tool"] == "tool"
        assert types["ask.task"] == "span"

    def test_nothing_is_printed(self, decorated: Run) -> None:
        assert (decorated.done.stdout, decorated.done.stderr) == ("", "")

    def test_no_content_leaves(self, decorated: Run) -> None:
        assert decorated.ours.spans
        assert not [canary for canary in CANARIES if canary.encode() in decorated.ours.bytes]

    def test_the_decorators_do_not_even_record_content(self, decorated: Run) -> None:
        assert b"traceloop.entity.input" not in decorated.ours.bytes  # a removal note would name it


OWN_INIT = f"""
    import os, somatrace
    from somatrace import bind, init_tracing, status
    PROMPT, SYSTEM, ANSWER, KEY = {CANARIES!r}
    late = os.environ["ORDER"] == "init_tracing last"
    if not late:
        init_tracing("svc")
    from traceloop.sdk import Traceloop
    from traceloop.sdk.instruments import Instruments
    from traceloop.sdk.decorators import workflow
    import openai

    @workflow(name="joke")
    def joke(q):
        return openai.OpenAI().chat.completions.create(model="m", messages=[{{"role": "user", "content": q}}])

    if not late:
        with bind(tenant_id="early"):
            joke(PROMPT)
    Traceloop.init("own", api_endpoint=os.environ["SECOND"], api_key="k", instruments={{Instruments.OPENAI}})
    if late:
        init_tracing("svc")
    with bind(tenant_id="acme"):
        joke(PROMPT)
    assert len(status().problems) == 1, status().problems
    assert status().problems[0].startswith("traceloop: two pipelines run"), status().problems
    assert "two pipelines" in status().instruments["traceloop"]
    """


@pytest.mark.slow
@pytest.mark.parametrize("order", ["init_tracing first", "init_tracing last"])
def test_a_second_pipeline_of_traceloop_init_gets_guarded_copies_and_spans_arrive_once(
    order: str,
) -> None:
    for run in _run(OWN_INIT, ORDER=order):
        for server in (run.ours, run.second):
            spans = [span for span in server.spans if span.attributes["tenant_id"] == "acme"]
            assert sorted(span.name for span in spans) == ["joke.workflow", "openai.chat"]
            assert not [canary for canary in CANARIES if canary.encode() in server.bytes]


@pytest.mark.slow
def test_a_traceloop_init_that_fails_leaves_the_decorators_working() -> None:
    source = """
        from somatrace import init_tracing, status
        init_tracing("svc")
        from traceloop.sdk import Traceloop
        from traceloop.sdk.decorators import workflow
        Traceloop.init("own")  # reports that the key is missing

        @workflow(name="joke")
        def joke():
            return 1

        joke()
        assert status().instruments["traceloop"] == "on"
        """
    for run in _run(source):
        assert [span.name for span in run.ours.spans] == ["joke.workflow"]
        assert KEY not in run.done.stdout
