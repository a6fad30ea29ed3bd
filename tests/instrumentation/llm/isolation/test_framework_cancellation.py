"""Runs of frameworks that are cancelled, abandoned or time out end at once, and their spans with them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from somatrace import flush, span
from somatrace.testing import Captured, capture

pytest.importorskip("langgraph", reason="langgraph is not installed in this environment")
pytest.importorskip("mcp", reason="mcp is not installed in this environment")

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool
from langgraph.graph import START, StateGraph
from mcp.server.lowlevel import Server
from mcp.shared.memory import create_connected_server_and_client_session

from tests.support.logs import own_records

Run = Callable[[asyncio.Event], Awaitable[Any]]


class State(TypedDict):
    x: int


class Silent(BaseChatModel):
    """A model that never answers."""

    started: Any

    @property
    def _llm_type(self) -> str:
        return "silent"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def _agenerate(self, *_: Any, **__: Any) -> Any:
        await endless(self.started)


class Archive(BaseRetriever):
    started: Any

    def _get_relevant_documents(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def _aget_relevant_documents(self, *_: Any, **__: Any) -> Any:
        await endless(self.started)


async def endless(started: asyncio.Event) -> None:
    started.set()
    await asyncio.Event().wait()


def chain(started: asyncio.Event) -> Any:
    async def step(_: int) -> None:
        await endless(started)

    return RunnableLambda(step)


def graph(started: asyncio.Event) -> Any:
    async def node(_: State) -> None:
        await endless(started)

    made = StateGraph(State)
    made.add_node("node", node)
    made.add_edge(START, "node")
    return made.compile()


def search(started: asyncio.Event) -> StructuredTool:
    async def find(query: str) -> None:
        """Find."""
        await endless(started)

    return StructuredTool.from_function(coroutine=find)


async def read(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


async def mcp_call(started: asyncio.Event) -> None:
    server: Any = Server("s")

    @server.call_tool()
    async def call(*_: Any) -> Any:
        await endless(started)

    @server.list_tools()
    async def tools() -> list[Any]:
        return []

    async with create_connected_server_and_client_session(server) as session:
        await session.call_tool("t", {})


RUNS: dict[str, Run] = {
    "chain": lambda started: chain(started).ainvoke(1),
    "chain events": lambda started: read(chain(started).astream_events(1, version="v2")),
    "model": lambda started: Silent(started=started).ainvoke("hi"),
    "models": lambda started: Silent(started=started).abatch(["hi"]),
    "retriever": lambda started: Archive(started=started).ainvoke("hi"),
    "tool": lambda started: search(started).ainvoke({"query": "hi"}),
    "graph": lambda started: graph(started).ainvoke({"x": 1}),
    "graph stream": lambda started: read(graph(started).astream({"x": 1})),
    "mcp": mcp_call,
}


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[Captured]:
    with caplog.at_level(logging.WARNING), capture(timeout=60) as captured:
        yield captured
    assert [record.getMessage() for record in own_records(caplog)] == []


def assert_cancelled(seen: Captured) -> None:
    assert flush(60)
    assert seen.spans
    assert [one.name for one in seen.spans if one.status.status_code is StatusCode.ERROR] == []
    assert [event.name for one in seen.spans for event in one.events] == []
    assert {one.attributes.get("somatrace.outcome") for one in seen.spans if one.attributes} >= {"cancelled"}


@pytest.mark.parametrize("name", RUNS)
def test_a_cancelled_run_is_cancelled_and_not_failed(name: str, seen: Captured) -> None:
    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.ensure_future(RUNS[name](started))
        await started.wait()
        task.cancel("the program's")
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert_cancelled(seen)


@pytest.mark.parametrize("name", RUNS)
def test_a_task_goes_on_with_its_own_span_after_a_time_limit(name: str, seen: Captured) -> None:
    async def main() -> trace.Span:
        started = asyncio.Event()
        with span("own") as own:
            with anyio.move_on_after(600) as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(cancelling(started, scope))
                    await RUNS[name](started)
            assert scope.cancelled_caught
            assert trace.get_current_span() is own
        return own

    async def cancelling(started: asyncio.Event, scope: anyio.CancelScope) -> None:
        await started.wait()
        scope.cancel()

    asyncio.run(main())

    assert_cancelled(seen)
    assert len(seen.spans) > 1


@asynccontextmanager
async def closing(stream: Any) -> AsyncIterator[Any]:
    try:
        yield stream
    finally:
        await stream.aclose()


def test_an_abandoned_graph_stream_is_no_failure(seen: Captured) -> None:
    async def node(_: State) -> State:
        return {"x": 1}

    made = StateGraph(State)
    made.add_node("node", node)
    made.add_node("following", node)
    made.add_edge(START, "node")
    made.add_edge("node", "following")

    async def main() -> None:
        with span("own") as own:
            async with closing(made.compile().astream({"x": 1})) as stream:
                async for _ in stream:
                    assert trace.get_current_span() is own
                    break
            assert trace.get_current_span() is own

    asyncio.run(main())

    assert flush(60)
    assert [one.name for one in seen.spans if one.status.status_code is StatusCode.ERROR] == []
    assert {one.name for one in seen.spans} >= {"own", "invoke_agent LangGraph"}


def test_a_graph_stream_in_a_loop_leaves_the_programs_span_current(seen: Captured) -> None:
    made = StateGraph(State)
    made.add_node("node", lambda state: state)
    made.add_edge(START, "node")

    with span("own") as own:
        for _ in made.compile().stream({"x": 1}):
            assert trace.get_current_span() is own

    assert flush(60)
    inner = [one for one in seen.spans if one.name == "LangGraph.workflow"]
    outer = seen.named("invoke_agent LangGraph")
    assert [one.parent.span_id for one in inner if one.parent] == [outer.context.span_id]
