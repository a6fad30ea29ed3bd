"""Answers of each client count as billed, whatever their usage consists of, under the model that answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from somatrace.local.otlp.usage import usage
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program
from tests.support.usage_server import ANTHROPIC, DATE, OPENAI, usage_server

PROGRAM = """
    import asyncio
    from somatrace import bind, flush, init_tracing
    init_tracing("usage")
    import anthropic, litellm, openai
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    litellm.suppress_debug_info = True
    client, aclient = openai.OpenAI(), openai.AsyncOpenAI()
    claude, aclaude = anthropic.Anthropic(), anthropic.AsyncAnthropic()
    azure = openai.AzureOpenAI(base_url=client.base_url, api_key="k", api_version="1").chat.completions
    messages = [{"role": "user", "content": "hi"}]
    asked = {"stream": True, "stream_options": {"include_usage": True}}

    def drained(stream):
        for _ in stream: pass

    async def adrained(stream):
        async for _ in stream: pass

    def opened(manager, read):
        with manager as answer: read(answer)

    async def aopened(manager, read):
        async with manager as answer: await read(answer)

    async def alines(answer):
        async for _ in answer.iter_lines(): pass

    async def aparsed(answer):
        await answer.parse()

    async def aread(request):
        await adrained((await request).http_response.aiter_bytes())

    def managed(model):
        with claude.messages.stream(model=model, max_tokens=5, messages=messages) as stream:
            stream.get_final_message()

    def beta_managed(model):
        with claude.beta.messages.stream(model=model, max_tokens=5, messages=messages) as stream:
            stream.get_final_message()

    def beta_read(model):
        with claude.beta.messages.stream(model=model, max_tokens=5, messages=messages) as stream:
            drained(stream)

    async def abeta_managed(model):
        async with aclaude.beta.messages.stream(model=model, max_tokens=5, messages=messages) as stream:
            await stream.get_final_message()

    async def amanaged(model):
        async with aclaude.messages.stream(model=model, max_tokens=5, messages=messages) as stream:
            await stream.get_final_message()

    chat, achat = client.chat.completions, aclient.chat.completions
    raw, araw = chat.with_raw_response, achat.with_raw_response
    unread, aunread = chat.with_streaming_response, achat.with_streaming_response
    lines = lambda answer: drained(answer.iter_lines())
    parsed = lambda answer: answer.parse()
    OPENAI = {
        "chat": lambda m: chat.create(model=m, messages=messages),
        "raw chat": lambda m: raw.create(model=m, messages=messages).parse(),
        "raw chat stream": lambda m: drained(raw.create(model=m, messages=messages, **asked).parse()),
        "unread chat": lambda m: opened(unread.create(model=m, messages=messages), parsed),
        "unread chat stream": lambda m: opened(unread.create(model=m, messages=messages, **asked), lines),
        "unread responses": lambda m: opened(
            client.responses.with_streaming_response.create(model=m, input="hi"), lines),
        "unread responses stream": lambda m: opened(
            client.responses.with_streaming_response.create(model=m, input="hi", stream=True), lines),
        "raw responses stream": lambda m: drained(
            client.responses.with_raw_response.create(model=m, input="hi", stream=True).parse()),
        "azure unread chat": lambda m: opened(
            azure.with_streaming_response.create(model=m, messages=messages), parsed),
        "langchain headers stream": lambda m: drained(
            ChatOpenAI(model=m, stream_usage=True, include_response_headers=True).stream("hi")),
        "chat stream": lambda m: drained(chat.create(model=m, messages=messages, **asked)),
        "responses": lambda m: client.responses.create(model=m, input="hi"),
        "responses stream": lambda m: drained(client.responses.create(model=m, input="hi", stream=True)),
        "litellm": lambda m: litellm.completion(model=f"openai/{m}", messages=messages),
        "litellm stream": lambda m: drained(
            litellm.completion(model=f"openai/{m}", messages=messages, **asked)),
        "langchain": lambda m: ChatOpenAI(model=m).invoke("hi"),
        "langchain stream": lambda m: drained(ChatOpenAI(model=m, stream_usage=True).stream("hi")),
        "langchain two answers": lambda m: ChatOpenAI(model=m, n=2).generate([[HumanMessage("hi")]]),
        "langchain responses": lambda m: ChatOpenAI(model=m, use_responses_api=True).invoke("hi"),
        "langchain responses stream": lambda m: drained(
            ChatOpenAI(model=m, use_responses_api=True).stream("hi")),
    }
    ASYNC_OPENAI = {
        "async chat": lambda m: achat.create(model=m, messages=messages),
        "async chat stream": lambda m: astreamed(achat.create(model=m, messages=messages, **asked)),
        "async responses": lambda m: aclient.responses.create(model=m, input="hi"),
        "async responses stream": lambda m: astreamed(
            aclient.responses.create(model=m, input="hi", stream=True)),
        "async raw chat stream": lambda m: aread(araw.create(model=m, messages=messages, **asked)),
        "async unread chat": lambda m: aopened(aunread.create(model=m, messages=messages), aparsed),
        "async unread chat stream": lambda m: aopened(
            aunread.create(model=m, messages=messages, **asked), alines),
        "async unread responses": lambda m: aopened(
            aclient.responses.with_streaming_response.create(model=m, input="hi"), aparsed),
        "async litellm": lambda m: litellm.acompletion(model=f"openai/{m}", messages=messages),
        "async litellm stream": lambda m: astreamed(
            litellm.acompletion(model=f"openai/{m}", messages=messages, **asked)),
        "async langchain": lambda m: ChatOpenAI(model=m).ainvoke("hi"),
        "async langchain stream": lambda m: adrained(ChatOpenAI(model=m, stream_usage=True).astream("hi")),
    }
    ANTHROPIC = {
        "messages": lambda m: claude.messages.create(model=m, max_tokens=5, messages=messages),
        "raw messages": lambda m: claude.messages.with_raw_response.create(
            model=m, max_tokens=5, messages=messages).parse(),
        "raw messages stream": lambda m: drained(claude.messages.with_raw_response.create(
            model=m, max_tokens=5, messages=messages, stream=True).parse()),
        "unread messages": lambda m: opened(claude.messages.with_streaming_response.create(
            model=m, max_tokens=5, messages=messages), lines),
        "unread messages stream": lambda m: opened(claude.messages.with_streaming_response.create(
            model=m, max_tokens=5, messages=messages, stream=True), lines),
        "unread beta stream": lambda m: opened(claude.beta.messages.with_streaming_response.create(
            model=m, max_tokens=5, messages=messages, stream=True), lines),
        "messages stream": lambda m: drained(
            claude.messages.create(model=m, max_tokens=5, messages=messages, stream=True)),
        "managed stream": managed,
        "beta messages": lambda m: claude.beta.messages.create(model=m, max_tokens=5, messages=messages),
        "beta stream": lambda m: drained(
            claude.beta.messages.create(model=m, max_tokens=5, messages=messages, stream=True)),
        "beta managed stream": beta_managed,
        "beta read stream": beta_read,
        "litellm anthropic": lambda m: litellm.completion(model=f"anthropic/{m}", messages=messages),
        "litellm anthropic stream": lambda m: drained(
            litellm.completion(model=f"anthropic/{m}", messages=messages, **asked)),
        "litellm anthropic plain stream": lambda m: drained(
            litellm.completion(model=f"anthropic/{m}", messages=messages, stream=True)),
    }
    ASYNC_ANTHROPIC = {
        "async messages": lambda m: aclaude.messages.create(model=m, max_tokens=5, messages=messages),
        "async messages stream": lambda m: astreamed(
            aclaude.messages.create(model=m, max_tokens=5, messages=messages, stream=True)),
        "async managed stream": amanaged,
        "async unread messages": lambda m: aopened(aclaude.messages.with_streaming_response.create(
            model=m, max_tokens=5, messages=messages), aparsed),
        "async unread messages stream": lambda m: aopened(aclaude.messages.with_streaming_response.create(
            model=m, max_tokens=5, messages=messages, stream=True), alines),
        "async litellm anthropic plain stream": lambda m: astreamed(
            litellm.acompletion(model=f"anthropic/{m}", messages=messages, stream=True)),
        "async beta managed stream": abeta_managed,
    }
    EMBEDDINGS = {
        "embeddings": lambda m: client.embeddings.create(model=m, input="hi"),
        "unread embeddings": lambda m: opened(
            client.embeddings.with_streaming_response.create(model=m, input="hi"), lines),
        "litellm embeddings": lambda m: litellm.embedding(model=f"openai/{m}", input=["hi"]),
        "langchain embeddings": lambda m: OpenAIEmbeddings(
            model=m, check_embedding_ctx_length=False).embed_query("hi"),
    }

    async def astreamed(stream):
        await adrained(await stream)

    for shapes, calls in ((%r, OPENAI), (%r, ANTHROPIC), (["plain"], EMBEDDINGS)):
        for shape in shapes:
            for name, call in calls.items():
                with bind(run_id=f"{name}-{shape}".replace(" ", "-")):
                    call(shape)

    async def asynchronous():
        for shapes, calls in ((%r, ASYNC_OPENAI), (%r, ASYNC_ANTHROPIC)):
            for shape in shapes:
                for name, call in calls.items():
                    # a task for each: langchain's instrumentor leaves a mark in the context of the task
                    await asyncio.create_task(named(name, shape, call))

    async def named(name, shape, call):
        with bind(run_id=f"{name}-{shape}".replace(" ", "-")):
            await call(shape)

    asyncio.run(asynchronous())
    assert flush(60)
"""

OPENAI_DETAILS: dict[str, dict[str, int]] = {
    "plain": {"input": 100, "output": 1000},
    "cached": {"input": 60, "input_cached_tokens": 40, "output": 1000},
    "reasoning": {
        "input": 60, "input_cached_tokens": 40, "output": 100, "output_reasoning_tokens": 900,
    },
    "audio": {"input": 70, "input_audio_tokens": 30, "output": 500, "output_audio_tokens": 500},
}  # fmt: skip
ANTHROPIC_DETAILS: dict[str, dict[str, int]] = {
    "plain": {"input": 100, "output": 1000},
    "deltas": {"input": 100, "output": 1000},
    "cached": {"input": 100, "input_cached_tokens": 40, "output": 1000},
    "written": {"input": 100, "input_cached_tokens": 40, "input_cache_creation_5m": 30, "output": 1000},
    "hour": {"input": 100, "input_cache_creation_5m": 10, "input_cache_creation_1h": 20, "output": 1000},
}
OF_OPENAI = (
    *("chat", "raw chat", "chat stream", "responses", "responses stream"),
    *("litellm", "litellm stream", "langchain", "langchain stream", "langchain two answers"),
    *("langchain responses", "langchain responses stream", "langchain headers stream"),
    *("raw chat stream", "unread chat", "unread chat stream", "unread responses", "unread responses stream"),
    *("raw responses stream", "azure unread chat", "async raw chat stream", "async unread chat"),
    *("async unread chat stream", "async unread responses"),
    *("async chat", "async chat stream", "async responses", "async responses stream"),
    *("async litellm", "async litellm stream", "async langchain", "async langchain stream"),
)
OF_ANTHROPIC = (
    *("messages", "raw messages", "messages stream", "managed stream", "litellm anthropic"),
    *("litellm anthropic stream", "async messages", "async messages stream", "async managed stream"),
    *("litellm anthropic plain stream", "async litellm anthropic plain stream"),
    *("raw messages stream", "unread messages", "unread messages stream", "unread beta stream"),
    *("async unread messages", "async unread messages stream"),
    *("beta messages", "beta stream", "beta managed stream", "beta read stream", "async beta managed stream"),
)
EMBEDDINGS = ("embeddings", "unread embeddings", "litellm embeddings", "langchain embeddings")
ALL = [
    *((client, shape, details) for client in OF_OPENAI for shape, details in OPENAI_DETAILS.items()),
    *((client, shape, details) for client in OF_ANTHROPIC for shape, details in ANTHROPIC_DETAILS.items()),
    *((client, "plain", {"input": 100}) for client in EMBEDDINGS),
]
#: litellm takes the first delta's output for that of the stream, and langchain drops the audio of answers of
#: the Responses API: they give the program no other.
FAULTS_OF_THE_CLIENT = {
    ("litellm anthropic stream", "deltas"),
    ("litellm anthropic plain stream", "deltas"),
    ("async litellm anthropic plain stream", "deltas"),
    ("langchain responses", "audio"),
    ("langchain responses stream", "audio"),
}
CASES = [case for case in ALL if case[:2] not in FAULTS_OF_THE_CLIENT]
#: Dollars a million tokens, all different.
PRICES = {
    "input": 2,
    "input_cached_tokens": 3,
    "input_audio_tokens": 5,
    "input_cache_creation_5m": 7,
    "input_cache_creation_1h": 11,
    "output": 13,
    "output_reasoning_tokens": 17,
    "output_audio_tokens": 19,
}


class Run:
    def __init__(self, otlp: OtlpServer) -> None:
        self.otlp = otlp

    def billed(self, client: str, shape: str) -> list[dict[str, Any]]:
        """The attributes of the spans of a call that have tokens."""
        named = [span.attributes for span in self.otlp.spans]
        return [
            one
            for one in named
            if one.get("run_id") == f"{client}-{shape}".replace(" ", "-") and usage(one).total
        ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with usage_server() as env, otlp_server() as otlp:
        prices = tmp_path_factory.mktemp("prices") / "prices.json"
        rows = [{"model": shape, "dated": [shape], "prices": PRICES} for shape in {*OPENAI, *ANTHROPIC}]
        prices.write_text(json.dumps({"prices": rows}))
        env |= {
            "SOMATRACE_PRICES_FILE": str(prices),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "SOMATRACE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        }
        shapes = (list(OPENAI), list(ANTHROPIC)) * 2
        run_program(PROGRAM % shapes, otlp_env(otlp.url, **env), timeout=280)
        yield Run(otlp)


@pytest.mark.slow
class TestAnAnswer:
    @pytest.mark.parametrize(("client", "shape", "details"), CASES)
    def test_counts_as_billed(self, run: Run, client: str, shape: str, details: dict[str, int]) -> None:
        (billed,) = run.billed(client, shape)

        counts = json.loads(billed["langfuse.observation.usage_details"])
        assert {name: count for name, count in counts.items() if count} == details

    @pytest.mark.parametrize(("client", "shape", "details"), CASES)
    def test_costs_what_its_counts_cost(
        self, run: Run, client: str, shape: str, details: dict[str, int]
    ) -> None:
        (billed,) = run.billed(client, shape)

        costs = json.loads(billed["langfuse.observation.cost_details"])
        wanted = {name: count * PRICES[name] / 1e6 for name, count in details.items()}
        assert costs == pytest.approx({**wanted, "total": sum(wanted.values())})
        assert billed["gen_ai.usage.cost.amount"] == pytest.approx(sum(wanted.values()))

    @pytest.mark.parametrize(("client", "shape", "details"), CASES)
    def test_names_the_model_that_answered(
        self, run: Run, client: str, shape: str, details: dict[str, int]
    ) -> None:
        (billed,) = run.billed(client, shape)

        assert billed["gen_ai.response.model"] == shape + DATE
