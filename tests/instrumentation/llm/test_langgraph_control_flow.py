"""A graph that pauses, jumps or is cancelled has no failed spans, and nothing is logged about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph")

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from somatrace import span
from somatrace.testing import Captured, capture

CONFIG: Any = {"configurable": {"thread_id": "1"}}


class State(TypedDict):
    x: int


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[Captured]:
    with caplog.at_level(logging.WARNING), capture(timeout=60) as captured:
        yield captured
    assert not [record.getMessage() for record in caplog.records if "Error in" in record.getMessage()]


def graph(node: Any, state: Any = State, **after: Any) -> StateGraph[Any]:
    made = StateGraph(state)
    made.add_node("node", node)
    made.add_edge(START, "node")
    for name, following in after.items():
        made.add_node(name, following)
    return made


def ask(state: State) -> State:
    return {"x": interrupt("how many?")}


async def ask_later(state: State) -> State:
    return {"x": interrupt("how many?")}


def ask_in_spans(state: State) -> State:
    with span("own"), trace.get_tracer("program").start_as_current_span("otel"):
        return {"x": interrupt("how many?")}


def outcomes(seen: Captured) -> set[str]:
    return {str(one.attributes["somatrace.outcome"]) for one in seen.spans if _has_outcome(one.attributes)}


def _has_outcome(attributes: Any) -> bool:
    return "somatrace.outcome" in attributes


def assert_nothing_failed(seen: Captured) -> None:
    assert seen.spans
    assert [one.name for one in seen.spans if one.status.status_code is StatusCode.ERROR] == []
    assert [event.name for one in seen.spans for event in one.events] == []
    assert not [one.name for one in seen.spans if "error.type" in (one.attributes or {})]


@pytest.mark.parametrize("node", [ask, ask_in_spans], ids=["plain", "in spans"])
def test_an_interrupt_and_its_resumption_are_no_failures(seen: Captured, node: Callable[[Any], Any]) -> None:
    app = graph(node).compile(checkpointer=InMemorySaver())

    paused = app.invoke({"x": 1}, CONFIG)
    resumed = app.invoke(Command(resume=5), CONFIG)

    assert paused["__interrupt__"]
    assert resumed == {"x": 5}
    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    assert outcomes(seen) == {"interrupted"}
    assert_nothing_failed(seen)


def test_an_asynchronous_interrupt_is_no_failure(seen: Captured) -> None:
    app = graph(ask_later).compile(checkpointer=InMemorySaver())

    async def run() -> None:
        await app.ainvoke({"x": 1}, CONFIG)
        async for _ in app.astream(Command(resume=5), CONFIG):
            pass

    asyncio.run(run())

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    assert outcomes(seen) == {"interrupted"}
    assert_nothing_failed(seen)


def test_a_tool_that_waits_for_a_person_is_no_failure(seen: Captured) -> None:
    @tool
    def person(question: str) -> str:
        """Ask a person."""
        return str(interrupt(question))

    call = {"name": "person", "args": {"question": "?"}, "id": "1", "type": "tool_call"}
    app = graph(
        lambda _: {"messages": [AIMessage("", tool_calls=[call])]}, MessagesState, tools=ToolNode([person])
    )
    app.add_edge("node", "tools")

    app.compile(checkpointer=InMemorySaver()).invoke({"messages": [("user", "hi")]}, CONFIG)

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    assert outcomes(seen) == {"interrupted"}
    assert_nothing_failed(seen)


def test_a_jump_out_of_a_subgraph_is_no_failure(seen: Captured) -> None:
    inner = graph(lambda _: Command(goto="other", graph=Command.PARENT, update={"x": 7}))
    app = graph(inner.compile(), other=lambda state: {"x": state["x"] + 1}).compile()

    assert app.invoke({"x": 1}) == {"x": 8}

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    assert outcomes(seen) == {"redirected"}
    assert_nothing_failed(seen)


def test_a_cancelled_graph_is_no_failure(seen: Captured) -> None:
    started = asyncio.Event()

    async def endless(state: State) -> None:
        started.set()
        await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(graph(endless).compile().ainvoke({"x": 1}))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    assert outcomes(seen) == {"cancelled"}
    assert_nothing_failed(seen)


def test_a_failing_node_is_a_failure(seen: Captured) -> None:
    def broken(state: State) -> State:
        raise LookupError

    with pytest.raises(LookupError):
        graph(broken).compile().invoke({"x": 1})

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    assert [one.name for one in seen.spans if one.status.status_code is StatusCode.ERROR]
