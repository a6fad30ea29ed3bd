"""Closing the stream of a graph ends the graph, as it does without tracing."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import TypedDict

import pytest

from somatrace import span
from somatrace.testing import capture

pytest.importorskip("langgraph.graph", reason="langgraph is not installed in this environment")

with capture():
    from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    value: int


def test_closing_an_asynchronous_stream_cancels_the_nodes_that_run():
    slow_runs = asyncio.Event()
    seen_by_slow = []

    async def quick(state):
        await slow_runs.wait()
        return {"value": 1}

    async def slow(state):
        slow_runs.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            seen_by_slow.append("cancelled")
            raise

    builder = StateGraph(State)
    builder.add_node("quick", quick)
    builder.add_node("slow", slow)
    builder.add_edge(START, "quick")
    builder.add_edge(START, "slow")
    graph = builder.compile()

    async def run():
        async with aclosing(graph.astream({"value": 0})) as stream:
            assert await anext(stream) == {"quick": {"value": 1}}
            assert seen_by_slow == []
        return list(seen_by_slow)

    with capture() as seen, span("work"):
        seen_after = asyncio.run(run())

    assert seen_after == ["cancelled"]
    (invoked,) = [one for one in seen.spans if one.name.startswith("invoke_agent")]
    assert invoked.attributes["somatrace.outcome"] == "abandoned"


def test_a_closed_stream_ends_and_runs_no_further_node():
    ran = []

    def node(name):
        return lambda state: ran.append(name) or {"value": 1}

    builder = StateGraph(State)
    builder.add_node("one", node("one"))
    builder.add_node("two", node("two"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")

    with capture(), closing(builder.compile().stream({"value": 0})) as stream:
        assert next(stream) == {"one": {"value": 1}}
        stream.close()

        assert list(stream) == []
    assert ran == ["one"]
