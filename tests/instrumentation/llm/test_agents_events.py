"""Agents of openai-agents run as without tracing, whatever their tools return and their sessions raise."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import importlib
import uuid
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.trace import StatusCode

from somatrace import bind, flush
from somatrace.config import Config
from somatrace.testing import Captured, capture
from somatrace.tracing import init_tracing

pytest.importorskip("agents.realtime", reason="openai-agents is not installed in this environment")

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, generation_span, trace
from agents.realtime import RealtimeAgent, RealtimeModel, RealtimeSession
from agents.tracing import get_trace_provider
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from pydantic import BaseModel

INSTRUMENTOR = "opentelemetry.instrumentation.openai_agents._hooks"
REALTIME = "opentelemetry.instrumentation.openai_agents._realtime_wrappers"
CONTENT = {"content": "redacted", "reason": "a test"}


class Answered(Model):
    """Calls the tool `look` once, and then answers."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        prompt = kwargs["input"]
        self.inputs.append(prompt)
        text = ResponseOutputText(type="output_text", text="done", annotations=[])
        message = ResponseOutputMessage(
            id="m", type="message", role="assistant", status="completed", content=[text]
        )
        call = ResponseFunctionToolCall(type="function_call", call_id="c", name="look", arguments="{}")
        with generation_span(model="m", input=prompt):
            output = [call] if len(self.inputs) == 1 else [message]
            return ModelResponse(output=output, usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield


class Broken(RealtimeModel):
    """A connection that is gone."""

    async def connect(self, options: Any) -> None:
        """Do nothing."""

    def add_listener(self, listener: Any) -> None:
        """Do nothing."""

    def remove_listener(self, listener: Any) -> None:
        """Do nothing."""

    async def send_event(self, event: Any) -> None:
        raise ConnectionError("gone")

    async def close(self) -> None:
        """Do nothing."""


class Fields(BaseModel):
    a: int = 1


@dataclasses.dataclass
class Data:
    a: int = 1


class Noting:
    """Notes which of its methods are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __str__(self) -> str:
        self.calls.append("str")
        return "noting"

    def __repr__(self) -> str:
        self.calls.append("repr")
        return "noting"

    def __iter__(self) -> Iterator[Any]:
        self.calls.append("iter")
        return iter([])

    def __bool__(self) -> bool:
        self.calls.append("bool")
        return True


class MuteError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError


RESULTS = {
    "a text": ("x", "x"),
    "a dict": ({"a": 1}, '{"a": 1}'),
    "a model": (Fields(), '{"a": 1}'),
    "a dataclass": (Data(), '{"a": 1}'),
    "a plain value": (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    "bytes": (b"x", "\"b'x'\""),
    "a set": ({1}, None),
    "a generator": ((one for one in [1]), None),
    "nothing": (None, None),
}
RUN = ["openai.response", "look.tool", "openai.response", "helper.agent", "Agent Workflow"]


@pytest.fixture
def seen() -> Iterator[Captured]:
    init_tracing("test", config=Config(target="none", content_policy=lambda _: CONTENT))
    provider: Any = get_trace_provider()
    multi = provider._multi_processor  # without the one that sends traces to OpenAI
    multi._processors = tuple(one for one in multi._processors if "opentelemetry" in type(one).__module__)
    with capture(timeout=60) as captured, bind(tenant_id="acme"):
        yield captured


def run(result: Any, model: Model | None = None) -> Any:
    @function_tool
    def look() -> Any:
        """Look."""
        return result

    async def main() -> Any:
        before = otel_context.get_current()
        done = await Runner.run(Agent(name="helper", model=model or Answered(), tools=[look]), "hi")
        assert otel_context.get_current() == before
        return done.final_output

    return asyncio.run(main())


@pytest.mark.parametrize("kind", RESULTS)
def test_the_span_of_a_tool_ends_whatever_it_returns(kind: str, seen: Captured) -> None:
    result, recorded = RESULTS[kind]

    assert run(result) == "done"

    flush(60)
    assert [one.name for one in seen.spans] == RUN
    assert dict(seen.spans[1].attributes or {}).get("gen_ai.tool.call.result") == recorded


@pytest.mark.usefixtures("seen")
def test_what_a_tool_returns_is_read_by_the_framework_alone() -> None:
    result = Noting()

    assert run(result) == "done"

    assert result.calls == ["str"]  # for the model


@pytest.mark.parametrize(
    "part",
    ["_extract_prompt_attributes", "_extract_response_attributes", "_extract_tool_definitions",
     "OpenTelemetryTracingProcessor._end_generation_span", "OpenTelemetryTracingProcessor._end_function_span",
     "should_send_prompts"],
)  # fmt: skip
def test_a_fault_of_the_instrumentor_loses_no_span(
    part: str, seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("a fault of the instrumentor")

    monkeypatch.setattr(f"{INSTRUMENTOR}.{part}", broken)

    assert run("x") == "done"

    flush(60)
    assert [one.name for one in seen.spans] == RUN


def test_an_error_without_a_text_ends_its_span(seen: Captured) -> None:
    before = otel_context.get_current()

    with trace("workflow"), generation_span(model="m") as failed:
        failed.set_error({"message": "failed", "data": {"cause": MuteError()}})

    flush(60)
    span, workflow = seen.spans
    assert (span.name, span.status.status_code) == ("openai.response", StatusCode.ERROR)
    assert workflow.name == "Agent Workflow"
    assert otel_context.get_current() == before


class Quiet(Broken):
    """A connection on which nothing happens."""

    async def send_event(self, event: Any) -> None:
        """Do nothing."""


def session() -> RealtimeSession:
    return RealtimeSession(Quiet(), RealtimeAgent(name="speaker"), None)


async def block() -> None:
    async with session() as entered:
        await entered._put_event(AGENT_START)


async def methods() -> None:
    entered = await session().enter()
    await entered._put_event(AGENT_START)
    await entered.close()


async def methods_twice() -> None:
    entered = await session().enter()
    await entered._put_event(AGENT_START)
    await entered.close()
    await entered.close()


async def closed_inside_its_block() -> None:
    async with session() as entered:
        await entered._put_event(AGENT_START)
        await entered.close()


AGENT_START = SimpleNamespace(type="agent_start", agent=RealtimeAgent(name="speaker"))


@pytest.mark.parametrize("program", [block, methods, methods_twice, closed_inside_its_block])
def test_the_spans_of_a_realtime_session_end_with_it(program: Any, seen: Captured) -> None:
    asyncio.run(program())

    flush(60)
    agent, workflow = seen.spans
    assert (agent.name, workflow.name) == ("speaker.agent", "Realtime Session")
    assert agent.parent == workflow.context
    assert workflow.status.status_code is not StatusCode.ERROR


def test_a_realtime_session_whose_block_fails_is_an_error(seen: Captured) -> None:
    async def main() -> None:
        async with session():
            raise LookupError("missing")

    with pytest.raises(LookupError):
        asyncio.run(main())

    flush(60)
    (workflow,) = seen.spans
    assert workflow.status.status_code is StatusCode.ERROR
    assert dict(workflow.attributes or {})["error.type"] == "LookupError"


def test_a_realtime_session_whose_connection_cannot_be_closed_is_an_error(seen: Captured) -> None:
    class Stuck(Quiet):
        async def close(self) -> None:
            raise ConnectionError("stuck")

    async def main() -> None:
        entered = await RealtimeSession(Stuck(), RealtimeAgent(name="speaker"), None).enter()
        await entered.close()

    with pytest.raises(ConnectionError, match="stuck"):
        asyncio.run(main())

    flush(60)
    (workflow,) = seen.spans
    assert workflow.status.status_code is StatusCode.ERROR


def test_a_cancelled_realtime_session_is_no_error(seen: Captured) -> None:
    async def main() -> None:
        async with session():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())

    flush(60)
    (workflow,) = seen.spans
    assert workflow.status.status_code is not StatusCode.ERROR
    assert dict(workflow.attributes or {})["somatrace.outcome"] == "cancelled"


@pytest.mark.usefixtures("seen")
def test_the_exception_of_a_realtime_session_reaches_the_program() -> None:
    async def main() -> None:
        async with RealtimeSession(Broken(), RealtimeAgent(name="speaker"), None) as session:
            await session.send_message("hi")

    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(main())


@pytest.mark.usefixtures("seen")
def test_the_exception_of_a_sessions_event_reaches_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(asyncio.Queue[Any]):
        async def put(self, item: Any) -> None:
            raise asyncio.QueueFull

    async def main() -> None:
        async with RealtimeSession(Broken(), RealtimeAgent(name="speaker"), None) as session:
            session._event_queue = Full()
            await session._put_event(object())

    with pytest.raises(asyncio.QueueFull):
        asyncio.run(main())


def test_the_spans_of_an_abandoned_realtime_session_end_when_it_is_collected(seen: Captured) -> None:
    async def main() -> None:
        entered = await session().enter()
        await entered._put_event(AGENT_START)

    asyncio.run(main())
    gc.collect()

    flush(60)
    assert sorted(span.name for span in seen.spans) == ["Realtime Session", "speaker.agent"]
    assert importlib.import_module(REALTIME)._tracing_states == {}
