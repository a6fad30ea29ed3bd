"""An answer from a library's cache is marked, and counts neither tokens nor cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from somatrace.local.otlp.usage import usage
from tests.support.llm_server import INPUT_TOKENS, OUTPUT_TOKENS, LlmServer, llm_server
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program

PROGRAM = """
    import asyncio, sys, time, types
    # litellm's cache imports the audio part of its proxy, which is not installed
    sys.modules.setdefault("soundfile", types.ModuleType("soundfile"))
    from somatrace import flush, init_tracing, span, usage
    init_tracing("cached")
    import litellm
    from langchain_core.caches import InMemoryCache
    from langchain_core.globals import set_llm_cache
    from langchain_openai import ChatOpenAI
    from litellm.caching.caching import Cache
    litellm.suppress_debug_info = True
    litellm.cache = Cache()
    set_llm_cache(InMemoryCache())
    messages = [{"role": "user", "content": "hi"}]
    usage_wanted = {"include_usage": True}

    for _ in range(2):
        ChatOpenAI(model="langchain").invoke("hi")
        asyncio.run(ChatOpenAI(model="langchain-async").ainvoke("hi"))
        ChatOpenAI(model="langchain-batch").batch(["hi"])
        ChatOpenAI(model="langchain-own", cache=InMemoryCache()).invoke("hi")
        with span("declared", kind="llm"):
            answer = ChatOpenAI(model="langchain-declared").invoke("hi")
            usage(model="langchain-declared", input_tokens=answer.usage_metadata["input_tokens"])

    async def asynchronous():
        for _ in range(2):
            await litellm.acompletion(model="openai/litellm-async", messages=messages, caching=True)
            async for _ in await litellm.acompletion(
                model="openai/litellm-async-stream", messages=messages, caching=True, stream=True,
                stream_options=usage_wanted): pass
            await litellm.aembedding(model="openai/litellm-embedding", input=["a"], caching=True)
            until = time.monotonic() + 60  # it writes its three answers to its cache in the background
            while len(litellm.cache.cache.cache_dict) < 3 and time.monotonic() < until:
                await asyncio.sleep(0.01)
        await litellm.aembedding(model="openai/litellm-embedding", input=["a", "b"], caching=True)

    asyncio.run(asynchronous())
    for _ in range(2):
        litellm.completion(model="openai/litellm", messages=messages, caching=True)
        for _ in litellm.completion(model="openai/litellm-stream", messages=messages, caching=True,
                                    stream=True, stream_options=usage_wanted): pass
    assert flush(60)
"""
CHATS = (
    "langchain",
    "langchain-async",
    "langchain-batch",
    "litellm",
    "litellm-stream",
    "litellm-async",
    "litellm-async-stream",
)


class Run:
    def __init__(self, llm: LlmServer, otlp: OtlpServer) -> None:
        self.llm = llm
        self.otlp = otlp

    def calls(self, model: str) -> list[dict[str, Any]]:
        """The attributes of the calls of a model. Spans arrive in the order of their ends."""
        return [
            span.attributes
            for span in self.otlp.spans
            if str(span.attributes.get("gen_ai.request.model")).rpartition("/")[2] == model
        ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with llm_server() as llm, otlp_server() as otlp:
        env = {
            **llm.env,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "SOMATRACE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        }
        run_program(PROGRAM, otlp_env(otlp.url, **env), timeout=280)
        yield Run(llm, otlp)


@pytest.mark.slow
class TestAnswersFromACache:
    @pytest.mark.parametrize("model", CHATS)
    def test_the_request_counts_and_the_cached_answer_does_not(self, run: Run, model: str) -> None:
        sent, cached = run.calls(model)

        assert usage(sent).total == INPUT_TOKENS + OUTPUT_TOKENS
        assert usage(cached).total == 0

    @pytest.mark.parametrize("model", [*CHATS, "litellm-embedding"])
    def test_only_the_cached_answer_is_marked(self, run: Run, model: str) -> None:
        sent, cached = run.calls(model)[:2]

        assert "somatrace.cache_hit" not in sent
        assert cached["somatrace.cache_hit"] is True

    def test_two_caches_that_answer_nothing_count_twice(self, run: Run) -> None:
        assert [usage(call).total for call in run.calls("langchain-own")] == [
            INPUT_TOKENS + OUTPUT_TOKENS
        ] * 2

    def test_usage_that_the_program_declares_of_a_cached_answer_does_not_count(self, run: Run) -> None:
        totals = [usage(call).total or 0 for call in run.calls("langchain-declared")]

        assert sorted(totals) == [0, 0, 0, INPUT_TOKENS + OUTPUT_TOKENS]

    def test_embeddings_of_which_a_part_was_cached_count_the_part_that_was_sent(self, run: Run) -> None:
        totals = [usage(call).total for call in run.calls("litellm-embedding")]

        assert totals == [INPUT_TOKENS, 0, INPUT_TOKENS]
