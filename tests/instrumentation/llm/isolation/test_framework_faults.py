"""A fault in any piece of a framework's instrumentor changes nothing for the program, and is not printed."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest
from opentelemetry import context as otel_context
from opentelemetry.trace import StatusCode

from somatrace import flush
from somatrace.config import Config
from somatrace.testing import Captured, capture
from somatrace.tracing import init_tracing
from tests.support.logs import own_records
from tests.support.programs import run_program

pytest.importorskip("langgraph", reason="langgraph is not installed in this environment")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import CallbackManager
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command

INSTRUMENTOR = "opentelemetry.instrumentation.langchain"
CONTENT = {"content": "redacted", "reason": "a test"}


class State(TypedDict):
    x: int


class OwnError(Exception):
    """The program's."""


class Counting(AgentMiddleware[Any, Any]):
    def before_model(self, state: Any, runtime: Any) -> Any:
        return super().before_model(state, runtime)

    async def abefore_model(self, state: Any, runtime: Any) -> Any:
        return await super().abefore_model(state, runtime)


@tool
def add(a: int) -> int:
    """Add."""
    return a + 1


def fail(_: object) -> None:
    raise OwnError


def model() -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("hello")]))


def chain() -> Any:
    return RunnableLambda(lambda x: x) | model() | (lambda message: message.content)


def graph(node: Any) -> Any:
    made = StateGraph(State)
    made.add_node("node", node)
    made.add_node("other", lambda state: {"x": state["x"] + 1})
    made.add_edge(START, "node")
    return made.compile()


def app() -> Any:
    return graph(lambda _: Command(goto="other", update={"x": 5}))


def agent() -> Any:
    return create_agent(model(), [], middleware=[Counting()], system_prompt="be kind")


async def events() -> list[str]:
    return [event["event"] async for event in chain().astream_events("hi", version="v2")]


async def streamed() -> list[Any]:
    return [item async for item in app().astream({"x": 1})]


HELLO = {"messages": [("user", "hi")]}
JUMPED = [{"node": {"x": 5}}, {"other": {"x": 6}}]
RUNS: dict[str, tuple[Callable[[], Any], Any]] = {
    "invoke": (lambda: chain().invoke("hi"), "hello"),
    "stream": (lambda: "".join(chain().stream("hi")), "hello"),
    "batch": (lambda: chain().batch(["hi"]), ["hello"]),
    "ainvoke": (lambda: asyncio.run(chain().ainvoke("hi")), "hello"),
    "astream_events": (lambda: asyncio.run(events())[-1], "on_chain_end"),
    "tool": (lambda: add.invoke({"a": 1}), 2),
    "graph": (lambda: app().invoke({"x": 1}), {"x": 6}),
    "graph stream": (lambda: list(app().stream({"x": 1})), JUMPED),
    "graph astream": (lambda: asyncio.run(streamed()), JUMPED),
    "agent": (lambda: agent().invoke(HELLO)["messages"][-1].content, "hello"),
    "async agent": (lambda: asyncio.run(agent().ainvoke(HELLO))["messages"][-1].content, "hello"),
}
HANDLER = "callback_handler:TraceloopCallbackHandler"
PARTS = (
    f"{HANDLER}._create_span", f"{HANDLER}._create_task_span", f"{HANDLER}._create_llm_span",
    f"{HANDLER}._end_span", f"{HANDLER}._get_span", f"{HANDLER}._handle_error",
    f"{HANDLER}._get_name_from_callback", "callback_handler:set_chat_request", "callback_handler:SpanHolder",
    "callback_handler:_set_span_attribute", "callback_handler:set_chat_response", "patch:_get_graph_name",
    "patch:_set_graph_span_attributes", "patch:SpanHolder", "patch:_extract_goto_destinations",
    "patch:_set_middleware_span_attributes", "patch:GenAiOperationNameValues",
)  # fmt: skip


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[Captured]:
    with caplog.at_level(logging.WARNING):
        init_tracing("test", config=Config(target="none", content_policy=lambda _: CONTENT))
        with capture(timeout=60) as captured:
            yield captured
    assert [one.getMessage() for one in own_records(caplog) if one.name != "somatrace"] == []


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("a fault of the instrumentor")


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("part", PARTS)
def test_a_fault_of_the_instrumentor_changes_no_result(
    part: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module, _, path = part.partition(":")
    importlib.import_module(f"{INSTRUMENTOR}.{module}")
    monkeypatch.setattr(f"{INSTRUMENTOR}.{module}.{path}", broken)

    context = otel_context.get_current()
    for name, (run, expected) in RUNS.items():
        assert run() == expected
        assert otel_context.get_current() is context, name
    for failing in (RunnableLambda(fail), graph(fail)):
        with pytest.raises(OwnError):
            failing.invoke({"x": 1})

    assert "Error in" not in capfd.readouterr().err


@pytest.mark.usefixtures("seen")
def test_a_callback_manager_leaves_the_programs_list_of_handlers_as_it_is() -> None:
    own: list[Any] = []

    manager = CallbackManager(handlers=own, inheritable_handlers=own)

    assert own == []
    assert [type(one).__name__ for one in manager.handlers] == ["TraceloopCallbackHandler"]


def test_an_exception_without_a_text_ends_its_span(seen: Captured) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def mute(_: object) -> None:
        raise MuteError

    with pytest.raises(MuteError):
        RunnableLambda(mute).invoke(1)

    flush(60)
    assert [(one.name, one.status.status_code) for one in seen.spans] == [("mute.workflow", StatusCode.ERROR)]


@pytest.mark.slow
def test_broken_event_methods_are_not_printed() -> None:
    done = run_program(
        """
        from opentelemetry.instrumentation.langchain import callback_handler
        handler = callback_handler.TraceloopCallbackHandler
        def broken(*_, **__):
            raise RuntimeError("a fault of the instrumentor")
        for name in [name for name in vars(handler) if name.startswith("on_")]:
            setattr(handler, name, broken)
        import somatrace
        from somatrace.config import Config
        somatrace.init_tracing("svc", config=Config(target="none"))
        from langchain_core.runnables import RunnableLambda
        print(RunnableLambda(lambda x: x).invoke(1), RunnableLambda(lambda x: x).batch([1, 2]))
        """,
        timeout=280,
    )

    assert done.stdout == "1 [1, 2]\n"
    assert "TraceloopCallbackHandler" not in done.stderr
