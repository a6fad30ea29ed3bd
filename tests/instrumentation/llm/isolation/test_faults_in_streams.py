"""A fault in any piece of the code that follows a program's stream stays out of the program's loop."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Final

import anyio
import pytest
from opentelemetry import trace

from somatrace.instrumentation.llm import langchain_events, langchain_runs
from somatrace.instrumentation.llm.isolation import bodies
from somatrace.instrumentation.llm.isolation.first_token import arrived
from somatrace.instrumentation.llm.isolation.postponed import Postponed
from somatrace.testing import capture
from tests.support import llm_server
from tests.support.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.filterwarnings("ignore")  # the clients' own, about what a test leaves open

CHAT: Final[dict[str, Any]] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
COMPLETION: Final = llm_server._chat({"model": "served"})
CHUNKS: Final = llm_server._chat_chunks({"model": "served"})
RAW: Final = "somatrace.instrumentation.llm.isolation.raw_answers"


class BrokenError(Exception):
    """The fault."""


def broken(*_: Any, **__: Any) -> Any:
    raise BrokenError


class Odd:
    """A value whose attributes cannot be read."""

    def __getattribute__(self, name: str) -> Any:
        raise BrokenError(name)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


@pytest.fixture
def completions(provider: ScriptedProvider) -> Any:
    openai = pytest.importorskip("openai", reason="openai is not installed in this environment")
    return openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0).chat.completions


class TestBytesThatAProgramReads:
    @pytest.mark.parametrize("piece", ["PushedStream.feed", "PushedStream.end", "PushedStream.__init__"])
    def test_of_a_stream_arrive(
        self, monkeypatch: pytest.MonkeyPatch, provider: ScriptedProvider, completions: Any, piece: str
    ) -> None:
        provider.answer(CHUNKS)
        monkeypatch.setattr(f"{RAW}.{piece}", broken)

        with (
            capture() as seen,
            completions.with_streaming_response.create(**CHAT, stream=True) as response,
        ):
            lines = list(response.iter_lines())

        assert "data: [DONE]" in lines
        assert [one.name for one in seen.spans] == ["openai.chat"]

    @pytest.mark.parametrize("piece", ["BodyText.add", "BodyText.value", "failure_in"])
    def test_of_an_answer_arrive(
        self, monkeypatch: pytest.MonkeyPatch, provider: ScriptedProvider, completions: Any, piece: str
    ) -> None:
        provider.answer(COMPLETION)
        monkeypatch.setattr(f"{RAW}.{piece}", broken)

        with capture() as seen, completions.with_streaming_response.create(**CHAT) as response:
            text = response.read()

        assert b"chat.completion" in text
        assert [one.name for one in seen.spans] == ["openai.chat"]

    def test_arrive_that_are_not_encoded_as_the_header_says(
        self, provider: ScriptedProvider, completions: Any
    ) -> None:
        provider.answer(b"no gzip", Content_Encoding="gzip")

        with capture() as seen, completions.with_streaming_response.create(**CHAT) as response:
            data = b"".join(response.http_response.iter_raw())

        assert data == b"no gzip"
        assert [one.name for one in seen.spans] == ["openai.chat"]


def test_a_wrapper_that_fails_when_the_answer_is_read_is_a_fault_of_its_own() -> None:
    faults: list[Exception] = []

    class Call(SimpleNamespace):
        @staticmethod
        def resuming() -> Any:
            return capture()

    call = Call(args=(), kwargs={}, fault=faults.append, asynchronous=False)

    Postponed(call, broken, lambda args, kwargs: (args, kwargs)).resume({"an": "answer"})

    assert [type(fault) for fault in faults] == [BrokenError]


def test_a_clock_that_raises_leaves_out_the_first_tokens_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", broken)

    arrived([trace.INVALID_SPAN])


def test_a_body_that_cannot_be_recorded_is_read() -> None:
    faults: list[Exception] = []
    closed: list[Any] = []
    call = SimpleNamespace(noting=nullcontext, fault=faults.append, close=closed.append)

    bodies._Body(call, broken, "3").item(b"abc")

    assert [type(fault) for fault in faults] == [BrokenError]
    assert closed == [None]


class TestLangchain:
    def test_a_token_that_cannot_be_read_is_passed_on(self) -> None:
        handler = SimpleNamespace(spans={1: SimpleNamespace(span=None)})

        langchain_events._new_token(handler, "", run_id=1, chunk=Odd())

    def test_a_span_that_cannot_be_ended_ends_no_run(self) -> None:
        handler = SimpleNamespace(spans={1: SimpleNamespace(span=None)}, _end_span=broken)

        langchain_runs.end(handler, 1, None)

    def test_a_handler_that_cannot_be_called_starts_the_programs_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("langchain_core", reason="langchain is not installed in this environment")
        from langchain_core.callbacks import AsyncCallbackHandler, manager
        from langchain_core.language_models.fake import FakeListLLM

        started = []

        class Own(AsyncCallbackHandler):
            async def on_llm_start(self, *_: Any, **__: Any) -> None:
                started.append(1)

        handle = manager.ahandle_event

        async def failing(handlers: list[Any], event: str, *args: Any, **kwargs: Any) -> None:
            if event == "on_llm_start" and not any(isinstance(one, Own) for one in handlers):
                raise BrokenError
            await handle(handlers, event, *args, **kwargs)

        with capture():
            importlib.import_module("langchain_core.callbacks.manager")
            monkeypatch.setattr(manager, "ahandle_event", failing)
            model = FakeListLLM(responses=["hello"])
            answer = asyncio.run(model.ainvoke("hi", config={"callbacks": [Own()]}))

        assert (answer, started) == ("hello", [1])


class TestMcp:
    @pytest.fixture
    def module(self) -> Any:
        pytest.importorskip("mcp.server.stdio", reason="mcp is not installed in this environment")
        with capture():
            importlib.import_module("mcp.client.session")
            return importlib.import_module("opentelemetry.instrumentation.mcp.instrumentation")

    def test_a_connection_whose_streams_cannot_be_wrapped_is_given_as_it_is(
        self, module: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "InstrumentedStreamReader", broken)
        transport = module.McpInstrumentor._transport_wrapper(None, None)

        async def connect() -> Any:
            async with transport(anyio.create_task_group, None, (), {}) as streams:
                return streams

        assert anyio.run(connect) is not None

    def test_a_message_that_cannot_be_read_is_received(self, module: Any) -> None:
        given = Odd()

        assert anyio.run(self._received, module.InstrumentedStreamReader, given) is given

    def test_a_message_whose_context_cannot_be_kept_is_sent(
        self, module: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        streams = importlib.import_module("somatrace.instrumentation.llm.mcp_streams")

        async def send() -> Any:
            writer, reader = anyio.create_memory_object_stream[str](1)
            async with writer, reader:
                await streams._send_with_context(SimpleNamespace(__wrapped__=writer), broken, "message")
                return await reader.receive()

        assert anyio.run(send) == "message"

    @staticmethod
    async def _received(kind: Callable[..., Any], given: Any) -> Any:
        writer, reader = anyio.create_memory_object_stream[Any](1)
        async with writer, reader:
            await writer.send(given)
            return await anext(aiter(kind(reader, None)))
