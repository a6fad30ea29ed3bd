"""The span of an answer that its provider reports as failed is an error, whether the client raises or not."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from somatrace.instrumentation.llm.isolation.answer_failures import failure_in
from somatrace.instrumentation.llm.isolation.first_token import has_token
from somatrace.testing import capture
from tests.support import llm_server
from tests.support.llm_server import INPUT_TOKENS, OUTPUT_TOKENS
from tests.support.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.filterwarnings("ignore")  # the clients' own, about what a test leaves open

MESSAGES: Final = [{"role": "user", "content": "hi"}]
BODY: Final = {"model": "served"}
FAILURE: Final = {"code": "server_error", "message": "m"}
CHUNKS: Final = llm_server._chat_chunks(BODY)
MESSAGE_EVENTS: Final = llm_server._message_events(BODY)

Work = Callable[[str], Any]


def with_finish_reason(answer: dict[str, Any], reason: str) -> dict[str, Any]:
    answer = copy.deepcopy(answer)
    for choice in answer.get("choices") or []:
        if choice.get("finish_reason"):
            choice["finish_reason"] = reason
    return answer


def response_events(last: dict[str, Any]) -> list[dict[str, Any]]:
    head = llm_server._response_events(BODY)[:-1]
    place = {"item_id": "msg_1", "output_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    head[1:1] = [
        {"type": "response.output_item.added", "sequence_number": 1, **place, "item": item},
        {
            "type": "response.content_part.added",
            "sequence_number": 1,
            **place,
            "content_index": 0,
            "part": part,
        },
    ]
    return [*head, {"sequence_number": 9, **last}]


def ended_response(number: int, status: str, **fields: Any) -> dict[str, Any]:
    given = {**llm_server._response(BODY), "id": f"failed_{number}", "status": status, **fields}
    return {"type": f"response.{status}", "response": given}


RESPONSE_FAILED: Final = response_events(ended_response(1, "failed", error=FAILURE))
RESPONSE_ERROR: Final = response_events({"type": "error", "param": None, **FAILURE})
RESPONSE_INCOMPLETE: Final = response_events(
    ended_response(2, "incomplete", incomplete_details={"reason": "max_output_tokens"})
)
CHAT_ERROR: Final = [*CHUNKS[:2], {"error": {"message": "m", "type": "server_error", "code": 500}}]
CHAT_FAILED: Final = [with_finish_reason(chunk, "error") for chunk in CHUNKS]
COMPLETION: Final = with_finish_reason(llm_server._chat(BODY), "error")
MESSAGE_ERROR: Final = [
    *MESSAGE_EVENTS[:3],
    {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
]
COHERE: Final = [
    {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "one"}}}},
    {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "m"}},
]
COHERE_ANSWER: Final = {"id": "c", "finish_reason": "ERROR", "message": {"role": "assistant", "content": []}}
COHERE_LINES: Final = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"event_type": "text-generation", "text": "one", "is_finished": False},
        {"event_type": "stream-end", "is_finished": True, "finish_reason": "ERROR"},
    )
)
GEMINI_ERROR: Final = [
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "one"}]}, "index": 0}]},
    {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}},
]
OLLAMA_ERROR: Final = (
    b'{"model": "m", "message": {"role": "assistant", "content": "one"}, "done": false}\n{"error": "m"}\n'
)


def openai(url: str, **more: Any) -> Any:
    return importlib.import_module("openai").OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, **more)


def anthropic(url: str) -> Any:
    return importlib.import_module("anthropic").Anthropic(base_url=url, api_key="k", max_retries=0)


def langchain(url: str, **more: Any) -> Any:
    kind = importlib.import_module("langchain_openai").ChatOpenAI
    return kind(model="m", base_url=f"{url}/v1", api_key="k", max_retries=0, **more)


def groq(url: str) -> Any:
    return importlib.import_module("groq").Groq(base_url=url, api_key="k", max_retries=0)


def mistral(url: str) -> Any:
    return importlib.import_module("mistralai").Mistral(server_url=url, api_key="k")


def cohere(url: str, kind: str = "ClientV2") -> Any:
    return getattr(importlib.import_module("cohere"), kind)("k", base_url=url)


def gemini(url: str) -> Any:
    return importlib.import_module("google.genai").Client(api_key="k", http_options={"base_url": url})


def ollama(url: str) -> Any:
    return importlib.import_module("ollama").Client(host=url)


def within(manager: Any) -> Any:
    with manager as stream:
        return list(stream)


def lines(manager: Any) -> Any:
    with manager as response:
        return list(response.iter_lines())


async def responses_async(url: str) -> Any:
    kind = importlib.import_module("openai").AsyncOpenAI
    async with kind(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        return [one async for one in await client.responses.create(model="m", input="hi", stream=True)]


async def cohere_async(url: str) -> Any:
    return [one async for one in cohere(url, "AsyncClientV2").chat_stream(model="m", messages=MESSAGES)]


def litellm(url: str) -> Any:
    module = importlib.import_module("litellm")
    given = {"model": "openai/m", "api_base": f"{url}/v1", "api_key": "k", "max_retries": 0}
    return list(module.completion(messages=MESSAGES, stream=True, **given))


HELLO: Final[dict[str, Any]] = {"model": "m", "input": "hi"}
CHAT: Final[dict[str, Any]] = {"model": "m", "messages": MESSAGES}
MESSAGE: Final[dict[str, Any]] = {"model": "m", "max_tokens": 5, "messages": MESSAGES}

#: By way to read a stream of OpenAI's Responses API.
RESPONSES: Final[dict[str, Work]] = {
    "stream": lambda url: list(openai(url).responses.create(**HELLO, stream=True)),
    "asynchronous stream": lambda url: asyncio.run(responses_async(url)),
    "helper": lambda url: within(openai(url).responses.stream(**HELLO)),
    "raw": lambda url: list(openai(url).responses.with_raw_response.create(**HELLO, stream=True).parse()),
    "bytes": lambda url: lines(openai(url).responses.with_streaming_response.create(**HELLO, stream=True)),
}
#: By client: what its provider sends, and the call.
CALLS: Final[dict[str, tuple[Any, Work]]] = {
    "openai error": (CHAT_ERROR, lambda url: list(openai(url).chat.completions.create(**CHAT, stream=True))),
    "openai reason": (
        CHAT_FAILED,
        lambda url: list(openai(url).chat.completions.create(**CHAT, stream=True)),
    ),
    "openai bytes": (
        CHAT_ERROR,
        lambda url: lines(openai(url).chat.completions.with_streaming_response.create(**CHAT, stream=True)),
    ),
    "openai helper": (CHAT_FAILED, lambda url: within(openai(url).chat.completions.stream(**CHAT))),
    "openai whole": (COMPLETION, lambda url: openai(url).chat.completions.create(**CHAT)),
    "openai raw": (
        COMPLETION,
        lambda url: openai(url).chat.completions.with_raw_response.create(**CHAT).parse(),
    ),
    "openai whole bytes": (
        COMPLETION,
        lambda url: lines(openai(url).chat.completions.with_streaming_response.create(**CHAT)),
    ),
    "anthropic": (MESSAGE_ERROR, lambda url: list(anthropic(url).messages.create(**MESSAGE, stream=True))),
    "anthropic helper": (MESSAGE_ERROR, lambda url: within(anthropic(url).messages.stream(**MESSAGE))),
    "anthropic bytes": (
        MESSAGE_ERROR,
        lambda url: lines(anthropic(url).messages.with_streaming_response.create(**MESSAGE, stream=True)),
    ),
    "litellm": (CHAT_ERROR, litellm),
    "langchain error": (CHAT_ERROR, lambda url: list(langchain(url).stream("hi"))),
    "langchain reason": (CHAT_FAILED, lambda url: list(langchain(url).stream("hi"))),
    "langchain whole": (COMPLETION, lambda url: langchain(url).invoke("hi")),
    "langchain responses": (
        RESPONSE_FAILED,
        lambda url: list(langchain(url, use_responses_api=True).stream("hi")),
    ),
    "groq": (CHAT_FAILED, lambda url: list(groq(url).chat.completions.create(**CHAT, stream=True))),
    "mistralai": (CHAT_FAILED, lambda url: within(mistral(url).chat.stream(**CHAT))),
    "mistralai whole": (COMPLETION, lambda url: mistral(url).chat.complete(**CHAT)),
    "cohere": (COHERE, lambda url: list(cohere(url).chat_stream(**CHAT))),
    "cohere asynchronous": (COHERE, lambda url: asyncio.run(cohere_async(url))),
    "cohere whole": (COHERE_ANSWER, lambda url: cohere(url).chat(**CHAT)),
    "cohere v1": (
        COHERE_LINES,
        lambda url: list(cohere(url, "Client").chat_stream(model="m", message="hi")),
    ),
    "ollama": (OLLAMA_ERROR, lambda url: list(ollama(url).chat(**CHAT, stream=True))),
    "google-genai": (
        GEMINI_ERROR,
        lambda url: list(gemini(url).models.generate_content_stream(model="m", contents="hi")),
    ),
}


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


def span_of(provider: ScriptedProvider, sent: Any, work: Work) -> ReadableSpan:
    """The only span of a call whose provider sends `sent`."""
    provider.answer(sent)
    with capture() as seen:
        try:
            work(provider.url)
        except ModuleNotFoundError as missing:
            pytest.skip(f"{missing.name} is not installed in this environment")
        except Exception:
            pass  # as the client reports the failure
    (one,) = seen.spans
    return one


@pytest.mark.parametrize("way", RESPONSES)
class TestAStreamOfTheResponsesApi:
    def test_that_fails_is_an_error_with_its_tokens(self, provider: ScriptedProvider, way: str) -> None:
        one = span_of(provider, RESPONSE_FAILED, RESPONSES[way])

        assert one.status.status_code.name == "ERROR"
        assert (one.attributes or {})["error.type"] == "failed"
        details = json.loads(str((one.attributes or {})["langfuse.observation.usage_details"]))
        assert details == {"input": INPUT_TOKENS, "output": OUTPUT_TOKENS}

    def test_that_ends_in_an_error_event_is_an_error(self, provider: ScriptedProvider, way: str) -> None:
        one = span_of(provider, RESPONSE_ERROR, RESPONSES[way])

        assert one.status.status_code.name == "ERROR"
        assert (one.attributes or {})["error.type"] == "failed"

    def test_that_is_incomplete_is_no_error(self, provider: ScriptedProvider, way: str) -> None:
        one = span_of(provider, RESPONSE_INCOMPLETE, RESPONSES[way])

        assert one.status.status_code.name != "ERROR"
        assert (one.attributes or {})["gen_ai.response.finish_reasons"] == ("length",)


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_fails_is_an_error(provider: ScriptedProvider, call: str) -> None:
    one = span_of(provider, *CALLS[call])

    assert one.status.status_code.name == "ERROR"
    assert (one.attributes or {})["error.type"]


def test_a_stream_that_is_given_up_after_its_failure_is_an_error(provider: ScriptedProvider) -> None:
    def until_the_failure(url: str) -> None:
        with openai(url).responses.create(**HELLO, stream=True) as stream:
            next(event for event in stream if event.type == "response.failed")

    one = span_of(provider, RESPONSE_FAILED, until_the_failure)

    assert one.status.status_code.name == "ERROR"


def test_a_stream_whose_connection_is_lost_is_an_error(provider: ScriptedProvider) -> None:
    provider.is_cut = True
    cut = llm_server._stream(CHUNKS[:2]).removesuffix(b"data: [DONE]\n\n")

    one = span_of(provider, cut, lambda url: list(openai(url).chat.completions.create(**CHAT, stream=True)))

    assert one.status.status_code.name == "ERROR"
    assert (one.attributes or {})["error.type"]


@pytest.mark.parametrize("look", [failure_in, has_token])
def test_an_item_that_cannot_be_read_raises_nothing(look: Callable[[Any], Any]) -> None:
    class Odd:
        def __getattribute__(self, name: str) -> Any:
            raise LookupError(name)

    assert not look(Odd())
