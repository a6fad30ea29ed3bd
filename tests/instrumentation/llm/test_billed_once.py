"""A request that passes several instrumented libraries has its usage on one span."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace

from somatrace.local.otlp.usage import usage
from somatrace.testing import capture
from tests.instrumentation.llm import usage_recording
from tests.support.llm_server import INPUT_TOKENS, OUTPUT_TOKENS, LlmServer, llm_server
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program

RECORDINGS = usage_recording.read()
CASES = [(library, case) for library, cases in RECORDINGS.items() for case in cases]
CLIENT_SCOPES = (
    "opentelemetry.instrumentation.openai.v1",
    "opentelemetry.instrumentation.google_generativeai",
)
#: The recorded instrumentor reports the last of the requests for one call; somatrace corrects that elsewhere.
LAST_ONLY = {("genai_google", "functions"): INPUT_TOKENS + OUTPUT_TOKENS}


@pytest.mark.parametrize(("library", "case"), CASES, ids=lambda name: name)
def test_the_usage_of_recorded_frameworks_is_that_of_the_answers(library: str, case: str) -> None:
    recorded = RECORDINGS[library][case]

    with capture() as seen:
        _replay(recorded["steps"])

    totals = [total for span in seen.spans if (total := usage(span.attributes or {}).total)]
    assert sum(totals) == LAST_ONLY.get((library, case), recorded["tokens"])


@pytest.mark.parametrize(("library", "case"), CASES, ids=lambda name: name)
def test_the_usage_of_a_framework_whose_client_is_in_a_trace_of_its_own_is_that_of_the_answers(
    library: str, case: str
) -> None:
    recorded = RECORDINGS[library][case]

    with capture() as seen:
        _replay([_outermost(step) for step in recorded["steps"]])

    totals = [total for span in seen.spans if (total := usage(span.attributes or {}).total)]
    assert sum(totals) == LAST_ONLY.get((library, case), recorded["tokens"])


def _outermost(step: dict[str, Any]) -> dict[str, Any]:
    """The start of a client's span as if no span had been current."""
    return {**step, "parent": None} if step.get("scope") in CLIENT_SCOPES else step


def _replay(steps: list[dict[str, Any]]) -> None:
    spans: list[trace.Span] = []
    began = []
    for step in steps:
        began.append(time.time_ns())
        if "start" in step:
            start = began[step["began"]] if "began" in step else None
            above = None if step["parent"] is None else trace.set_span_in_context(spans[step["parent"]])
            spans.append(trace.get_tracer(step["scope"]).start_span("step", above, start_time=start))
        else:
            span = spans[step["end"]]
            span.set_attributes(step["attributes"])
            span.update_name(step["name"])
            span.end()


PROGRAM = """
    import asyncio, contextvars, threading
    from somatrace import flush, init_tracing, span, usage
    init_tracing("frameworks")
    import anthropic, litellm, openai
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from langgraph.graph import START, MessagesState, StateGraph
    litellm.suppress_debug_info = True
    client, other = openai.OpenAI(), anthropic.Anthropic()
    messages = [{"role": "user", "content": "hi"}]

    def ask(model):
        return client.chat.completions.create(model=model, messages=messages)

    def declare(answer):
        usage(model=answer.model, input_tokens=answer.usage.prompt_tokens,
              output_tokens=answer.usage.completion_tokens)

    with span("own", kind="llm"):
        declare(ask("own"))

    with span("threaded", kind="llm"):
        answers, context = [], contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: answers.append(ask("threaded")),))
        thread.start(); thread.join()
        declare(answers[0])

    with span("own-cost", kind="llm"):
        declare(ask("own-cost"))
        usage(model="own-cost", input_tokens=11, output_tokens=7, cost=0.5)

    with span("unseen", kind="llm"):
        usage(model="unseen", input_tokens=11, output_tokens=7)

    with span("embeds", kind="llm"):
        client.embeddings.create(model="embeds", input="hi")
        usage(model="embeds", input_tokens=11, output_tokens=7)

    @tool
    def consult(question: str) -> str:
        "Ask another model."
        other.messages.create(model="consulted", max_tokens=5, messages=messages)
        return "so"

    litellm.completion(model="openai/litellm", messages=messages)
    for _ in litellm.completion(model="openai/litellm-stream", messages=messages, stream=True,
                                stream_options={"include_usage": True}): pass
    litellm.completion(model="anthropic/litellm-anthropic", messages=messages)
    asyncio.run(litellm.acompletion(model="openai/litellm-async", messages=messages))
    ChatOpenAI(model="langchain").invoke("hi")
    for _ in ChatOpenAI(model="langchain-stream", stream_usage=True).stream("hi"): pass
    asyncio.run(ChatOpenAI(model="langchain-async").ainvoke("hi"))
    OpenAIEmbeddings(model="langchain-embeddings", check_embedding_ctx_length=False).embed_query("hi")
    graph = StateGraph(MessagesState)
    chat = ChatOpenAI(model="langgraph")
    graph.add_node("model", lambda state: {"messages": [chat.invoke(state["messages"])]})
    graph.add_node("tool", lambda state: {"messages": [("user", consult.invoke({"question": "so"}))]})
    graph.add_edge(START, "model")
    graph.add_edge("model", "tool")
    graph.compile().invoke({"messages": [("user", "hi")]})

    with span("late", kind="llm"):
        stream = client.chat.completions.create(
            model="late", messages=messages, stream=True, stream_options={"include_usage": True})
        chunks = iter(stream)
        next(chunks)
        usage(model="late", input_tokens=11, output_tokens=7)
    for _ in chunks: pass
    assert flush(60)
"""


class Run:
    def __init__(self, llm: LlmServer, otlp: OtlpServer) -> None:
        self.llm = llm
        self.otlp = otlp

    def tokens(self, model: str) -> list[int]:
        """The tokens of the spans that name the model and have any."""
        named = [
            usage(span.attributes).total
            for span in self.otlp.spans
            if str(span.attributes.get("gen_ai.request.model")).rpartition("/")[2] == model
        ]
        return [total for total in named if total]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with llm_server() as llm, otlp_server() as otlp:
        env = {**llm.env, "SOMATRACE_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
        run_program(PROGRAM, otlp_env(otlp.url, **env), timeout=280)
        yield Run(llm, otlp)


@pytest.mark.slow
class TestFrameworksOfThisEnvironment:
    @pytest.mark.parametrize(
        "model",
        [
            "own",
            "threaded",
            "own-cost",
            "late",
            "unseen",
            "litellm",
            "litellm-stream",
            "litellm-anthropic",
            "litellm-async",
            "langchain",
            "langchain-stream",
            "langchain-async",
            "langgraph",
            "consulted",
        ],
    )
    def test_one_span_has_the_tokens_of_a_request(self, run: Run, model: str) -> None:
        assert run.tokens(model) == [INPUT_TOKENS + OUTPUT_TOKENS]

    def test_an_embedding_inside_a_model_call_is_another_request(self, run: Run) -> None:
        assert sorted(run.tokens("embeds")) == [INPUT_TOKENS, INPUT_TOKENS + OUTPUT_TOKENS]

    def test_the_embeddings_of_a_framework_are_counted_once(self, run: Run) -> None:
        assert run.tokens("langchain-embeddings") == [INPUT_TOKENS]
