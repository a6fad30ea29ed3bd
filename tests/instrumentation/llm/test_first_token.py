"""A streamed call says when its first token has arrived, as Langfuse reads it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from somatrace.instrumentation.llm.isolation.first_token import has_token
from somatrace.testing import capture
from tests.support import llm_server

KEY: Final = "langfuse.observation.completion_start_time"
MESSAGES: Any = [{"role": "user", "content": "hi"}]


class Provider:
    """Streams each event apart."""

    def __init__(self) -> None:
        #: When it has sent the first event, which has no token.
        self.opened = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                make = next(events for path, _, events in llm_server._PATHS if self.path.endswith(path))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for number, event in enumerate(make(body)):
                    if "choices" in event and event["choices"] and "role" in event["choices"][0]["delta"]:
                        event["choices"][0]["delta"]["content"] = ""
                    self._send(llm_server._stream([event]).replace(b"data: [DONE]\n\n", b""))
                    if number == 0:
                        provider.opened = time.time()
                    time.sleep(0.05)
                self._send(b"data: [DONE]\n\n" if "chat" in self.path else b": done\n\n")
                self._send(b"")

            def _send(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        return Handler


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def openai_chat(url: str) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))


def openai_chat_asynchronously(url: str) -> None:
    import openai

    async def run() -> None:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert [chunk async for chunk in stream]
        await client.close()

    asyncio.run(run())


def openai_chat_helper(url: str) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    with client.chat.completions.stream(model="m", messages=MESSAGES) as stream:
        list(stream)


def openai_responses(url: str) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    list(client.responses.create(model="m", input="hi", stream=True))


def openai_responses_asynchronously(url: str) -> None:
    import openai

    async def run() -> None:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        stream = await client.responses.create(model="m", input="hi", stream=True)
        assert [event async for event in stream]
        await client.close()

    asyncio.run(run())


def anthropic_messages(url: str) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    list(client.messages.create(model="m", max_tokens=5, messages=MESSAGES, stream=True))


def anthropic_helper(url: str) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    with client.messages.stream(model="m", max_tokens=5, messages=MESSAGES) as stream:
        assert list(stream.text_stream)


def anthropic_asynchronously(url: str) -> None:
    import anthropic

    async def run() -> None:
        client = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)
        async with client.messages.stream(model="m", max_tokens=5, messages=MESSAGES) as stream:
            assert [event async for event in stream]
        await client.close()

    asyncio.run(run())


def litellm_completion(url: str) -> None:
    import litellm

    given: Any = {"api_base": f"{url}/v1", "api_key": "k", "max_retries": 0}
    list(litellm.completion(model="openai/m", messages=MESSAGES, stream=True, **given))


def litellm_asynchronously(url: str) -> None:
    import litellm

    async def run() -> None:
        given: Any = {"api_base": f"{url}/v1", "api_key": "k", "max_retries": 0}
        stream: Any = await litellm.acompletion(model="openai/m", messages=MESSAGES, stream=True, **given)
        assert [chunk async for chunk in stream]

    asyncio.run(run())


def langchain_openai(url: str) -> None:
    from langchain_openai import ChatOpenAI

    model: Any = ChatOpenAI
    list(model(model="m", base_url=f"{url}/v1", api_key="k", max_retries=0).stream("hi"))


def langchain_openai_asynchronously(url: str) -> None:
    from langchain_openai import ChatOpenAI

    async def run() -> None:
        model: Any = ChatOpenAI
        stream = model(model="m", base_url=f"{url}/v1", api_key="k", max_retries=0).astream("hi")
        assert [chunk async for chunk in stream]

    asyncio.run(run())


CALLS: Final[list[Callable[[str], None]]] = [
    openai_chat,
    openai_chat_asynchronously,
    openai_chat_helper,
    openai_responses,
    openai_responses_asynchronously,
    anthropic_messages,
    anthropic_helper,
    anthropic_asynchronously,
    litellm_completion,
    litellm_asynchronously,
    langchain_openai,
    langchain_openai_asynchronously,
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the libraries' own, about clients that a test leaves open
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_the_first_token_is_later_than_the_opening_of_the_stream(
    call: Callable[[str], None], provider: Provider
) -> None:
    with capture() as seen:
        call(provider.url)

    (span,) = [span for span in seen.spans if KEY in (span.attributes or {})]
    arrived = datetime.fromisoformat(str((span.attributes or {})[KEY])).timestamp()
    assert provider.opened <= arrived <= (span.end_time or 0) / 1e9
    assert (span.attributes or {})["gen_ai.operation.name"] == "chat"


@pytest.mark.slow
def test_a_call_without_a_stream_has_no_first_token() -> None:
    import openai

    with llm_server.llm_server() as server, capture() as seen:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        client.chat.completions.create(model="m", messages=MESSAGES)

    assert [span.name for span in seen.spans if KEY in (span.attributes or {})] == []
    assert "openai.chat" in [span.name for span in seen.spans]


class Item:
    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def __repr__(self) -> str:
        return " ".join(f"{name}={value!r}" for name, value in vars(self).items())


def chunk(**delta: Any) -> Item:
    return Item(choices=[Item(delta=Item(**delta))])


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (chunk(role="assistant", content=""), False),
        (chunk(content="a"), True),
        (chunk(content=None, tool_calls=[1]), True),
        (chunk(content=None, reasoning_content="a"), True),
        (Item(choices=[Item(text="a")]), True),
        (Item(choices=[Item(text="")]), False),
        (Item(choices=[]), False),
        (Item(choices=None), False),
        (Item(data=chunk(content="a")), True),
        (Item(data=chunk(role="assistant")), False),
        (Item(type="response.created"), False),
        (Item(type="response.reasoning_summary_text.delta"), True),
        (Item(type="message_start"), False),
        (Item(type="ping"), False),
        (Item(type="content_block_delta"), True),
        (Item(type="message_delta"), False),
        (Item(event_type="stream-start"), False),
        (Item(event_type="text-generation"), True),
        ({"messageStart": {"role": "assistant"}}, False),
        ({"contentBlockDelta": {}}, True),
        (Item(candidates=[]), True),
        ("text", True),
    ],
    ids=repr,
)
def test_only_what_the_model_has_made_counts_as_a_token(item: Any, expected: bool) -> None:
    assert has_token(item) is expected
