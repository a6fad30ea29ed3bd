"""After a run of langchain or langgraph, the code that has started it goes on in its own span."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypedDict

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from somatrace import span
from somatrace.testing import capture

pytest.importorskip("langgraph", reason="langgraph is not installed in this environment")

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from tests.support.logs import own_records

SUPPRESSED = "suppress_language_model_instrumentation"


class State(TypedDict):
    x: int


class Archive(BaseRetriever):
    def _get_relevant_documents(self, *_: Any, **__: Any) -> Any:
        return []


@tool
async def find(x: int) -> int:
    """Find."""
    return x


def model() -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("hello you")] * 3))


async def step(x: Any) -> Any:
    return x


async def fail(_: object) -> None:
    raise ValueError


async def failing() -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        await RunnableLambda(fail).ainvoke(1)


async def whole(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        _assert_own()


async def first(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        break


def graph() -> Any:
    made = StateGraph(State)
    made.add_node("node", step)
    made.add_edge(START, "node")
    return made.compile()


chain = RunnableLambda(step)
RUNS: dict[str, Callable[[], Awaitable[Any]]] = {
    "chain": lambda: chain.ainvoke(1),
    "sequence": lambda: (chain | chain).ainvoke(1),
    "parallel": lambda: RunnableParallel(a=chain, b=chain).ainvoke(1),
    "failing chain": failing,
    "batch": lambda: chain.abatch([1, 2]),
    "model": lambda: model().ainvoke("x"),
    "stream of a model": lambda: whole(model().astream("x")),
    "abandoned stream of a model": lambda: first(model().astream("x")),
    "stream of a sequence": lambda: whole((chain | model()).astream("x")),
    "abandoned stream of a sequence": lambda: first((chain | model()).astream("x")),
    "events": lambda: whole((chain | model()).astream_events("x", version="v2")),
    "tool": lambda: find.ainvoke({"x": 1}),
    "retriever": lambda: Archive().ainvoke("x"),
    "graph": lambda: graph().ainvoke({"x": 1}),
    "stream of a graph": lambda: whole(graph().astream({"x": 1})),
    "abandoned stream of a graph": lambda: first(graph().astream({"x": 1})),
}


def _assert_own() -> None:
    assert getattr(trace.get_current_span(), "name", "") == "own"
    assert not otel_context.get_value(SUPPRESSED)


@pytest.fixture(autouse=True)
def _tracing(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING), capture(timeout=60):
        yield
    assert [record.getMessage() for record in own_records(caplog)] == []


@pytest.mark.parametrize("name", RUNS)
def test_an_asynchronous_run_leaves_the_tasks_context_as_it_was(name: str) -> None:
    async def main() -> None:
        with span("own"):
            await RUNS[name]()
            _assert_own()

    asyncio.run(main())


def looping() -> Any:
    made = StateGraph(State)
    made.add_node("node", lambda state: state)
    made.add_edge(START, "node")
    return made.compile().stream({"x": 1})


STREAMS: dict[str, Callable[[], Any]] = {
    "model": lambda: model().stream("x"),
    "sequence": lambda: (RunnableLambda(lambda x: x) | model()).stream("x"),
    "graph": looping,
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_body_of_a_loop_over_a_stream_has_the_programs_context(name: str) -> None:
    with span("own"):
        for _ in STREAMS[name]():
            _assert_own()
        _assert_own()
