"""langgraph: graphs of nodes, their state, commands and failures."""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing


class State(TypedDict, total=False):
    question: str
    answer: str


def graph(c: Planted) -> Any:
    def think(state: State) -> State:
        return {"answer": c("answer") + state["question"]}

    def route(_: State) -> Command[Any]:
        return Command(goto="finish", update={"answer": c("update")})

    def finish(state: State) -> State:
        return {"answer": state["answer"]}

    made = StateGraph(State)
    made.add_node("think", think)
    made.add_node("route", route, destinations=("finish",))
    made.add_node("finish", finish)
    made.add_edge(START, "think")
    made.add_edge("think", "route")
    made.add_edge("finish", END)
    return made.compile(checkpointer=InMemorySaver())


def config(c: Planted) -> RunnableConfig:
    return {
        "configurable": {"thread_id": c.email("thread"), "secret": c.key("configurable")},
        "metadata": {"customer": c("metadata"), "tenant_id": "open"},
        "tags": [c.word("tag")],
    }


@case("question", "answer")
def invoke(c: Planted) -> None:
    graph(c).invoke({"question": c("question")}, config=config(c))


@case()
def stream(c: Planted) -> None:
    for _ in graph(c).stream({"question": c("question")}, config=config(c)):
        pass


@case()
async def asynchronous(c: Planted) -> None:
    await graph(c).ainvoke({"question": c("question")}, config=config(c))


@case()
def failing_node(c: Planted) -> None:
    def fail(state: State) -> State:
        raise RuntimeError(f"{c('error')} {state}")

    made = StateGraph(State)
    made.add_node("fail", fail)
    made.add_edge(START, "fail")
    with failing():
        made.compile().invoke({"question": c("question")})
