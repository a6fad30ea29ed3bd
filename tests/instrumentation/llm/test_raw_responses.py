"""Answers that a program reads as HTTP responses are recorded as it reads them, and stay its own."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, field_validator

from somatrace import bind, span
from somatrace.instrumentation.llm.isolation.body_text import BodyText
from somatrace.testing import capture
from tests.support import llm_server
from tests.support.llm_server import INPUT_TOKENS, OUTPUT_TOKENS
from tests.support.scripted_provider import ScriptedProvider, encoded

openai = pytest.importorskip("openai", reason="openai is not installed in this environment")
anthropic = pytest.importorskip("anthropic", reason="anthropic is not installed in this environment")

pytestmark = pytest.mark.filterwarnings("ignore")  # the clients' own, about what a test leaves open

MESSAGES: Any = [{"role": "user", "content": "hi"}]
CHAT: Any = {"model": "m", "messages": MESSAGES}
STREAM: Any = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
MESSAGE: Any = {**CHAT, "max_tokens": 5}
DETAILS = {"input": INPUT_TOKENS, "output": OUTPUT_TOKENS}


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


def client(provider: ScriptedProvider) -> Any:
    return openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


def claude(provider: ScriptedProvider) -> Any:
    return anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0)


def details(one: ReadableSpan) -> dict[str, int]:
    found: dict[str, int] = json.loads(str((one.attributes or {})["langfuse.observation.usage_details"]))
    return found


def recorded(one: ReadableSpan) -> dict[str, Any]:
    """What a span says of its answer."""
    attributes = dict(one.attributes or {})
    names = ("gen_ai.response.model", "gen_ai.response.id", "gen_ai.response.finish_reasons")
    start = "langfuse.observation.completion_start_time"
    return {**{name: attributes.get(name) for name in names}, start: start in attributes, **details(one)}


def drain(answer: Any) -> None:
    for _ in answer:
        pass


READS: dict[str, Callable[[Any], Any]] = {
    "parse": lambda answer: drain(parsed) if is_stream(parsed := answer.parse()) else None,
    "read": lambda answer: answer.read(),
    "text": lambda answer: answer.text(),
    "lines": lambda answer: drain(answer.iter_lines()),
    "bytes": lambda answer: drain(answer.iter_bytes(7)),
    "characters": lambda answer: drain(answer.iter_text()),
    "response": lambda answer: answer.http_response.read(),
    "response lines": lambda answer: drain(answer.http_response.iter_lines()),
    "undecoded": lambda answer: drain(answer.http_response.iter_raw(7)),
}


def is_stream(parsed: Any) -> bool:
    return hasattr(type(parsed), "__next__")


class TestAnAnswerThatIsRead:
    @pytest.mark.parametrize("way", READS)
    def test_is_recorded_as_one_that_the_client_parses(self, provider: ScriptedProvider, way: str) -> None:
        completions = client(provider).chat.completions
        provider.answer(llm_server._chat(CHAT))

        with capture() as seen:
            completions.create(**CHAT)
            with completions.with_streaming_response.create(**CHAT) as answer:
                READS[way](answer)

        plain, raw = seen.spans
        assert recorded(raw) == recorded(plain)
        assert details(raw) == DETAILS

    @pytest.mark.parametrize("way", READS)
    def test_is_recorded_as_its_stream(self, provider: ScriptedProvider, way: str) -> None:
        completions = client(provider).chat.completions
        provider.answer(llm_server._chat_chunks(STREAM))

        with capture() as seen:
            drain(completions.create(**STREAM))
            with completions.with_streaming_response.create(**STREAM) as answer:
                READS[way](answer)

        plain, raw = seen.spans
        assert recorded(raw) == recorded(plain)
        assert recorded(raw)["langfuse.observation.completion_start_time"]
        assert details(raw) == DETAILS

    def test_is_recorded_as_a_stream_that_was_requested_raw(self, provider: ScriptedProvider) -> None:
        provider.answer(llm_server._chat_chunks(STREAM))

        with capture() as seen:
            drain(client(provider).chat.completions.with_raw_response.create(**STREAM).parse())

        (one,) = seen.spans
        assert details(one) == DETAILS
        assert (one.attributes or {})["gen_ai.response.model"] == "m"

    @pytest.mark.parametrize("reads", [False, True], ids=["parsed", "read"])
    def test_is_recorded_for_asynchronous_clients(self, provider: ScriptedProvider, reads: bool) -> None:
        provider.answer(llm_server._message(MESSAGE))

        async def run() -> None:
            async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", max_retries=0) as client:
                asked = client.messages.with_streaming_response.create(**MESSAGE)
                async with asked as answer:
                    await (answer.read() if reads else answer.parse())

        with capture() as seen:
            asyncio.run(run())

        (one,) = seen.spans
        assert details(one) == DETAILS

    def test_is_recorded_for_the_older_completions(self, provider: ScriptedProvider) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        choices = [{"index": 0, "text": "a", "finish_reason": "stop", "logprobs": None}]
        head = {"id": "c", "object": "text_completion", "created": 1, "model": "served"}
        provider.answer({**head, "choices": choices, "usage": usage})

        with capture() as seen:
            asked = client(provider).completions.with_streaming_response.create(model="m", prompt="p")
            with asked as answer:
                answer.parse()

        (one,) = seen.spans
        assert details(one) == {"input": 3, "output": 4}
        assert (one.attributes or {})["gen_ai.response.model"] == "served"

    def test_is_recorded_if_it_was_compressed(self, provider: ScriptedProvider) -> None:
        provider.answer(gzip.compress(encoded(llm_server._chat(CHAT))), Content_Encoding="gzip")

        with capture() as seen:
            for way in ("lines", "undecoded"):
                with client(provider).chat.completions.with_streaming_response.create(**CHAT) as answer:
                    READS[way](answer)

        assert [details(one) for one in seen.spans] == [DETAILS, DETAILS]

    def test_is_recorded_however_long_it_is(self, provider: ScriptedProvider) -> None:
        vectors = [{"index": n, "object": "embedding", "embedding": [0.5] * 1000} for n in range(1500)]
        usage = {"prompt_tokens": 9, "total_tokens": 9}
        provider.answer({"object": "list", "data": vectors, "model": "served", "usage": usage})

        with capture() as seen:
            asked = client(provider).embeddings.with_streaming_response.create(model="m", input="x")
            with asked as answer:
                drain(answer.iter_bytes(50_000))

        (one,) = seen.spans
        assert details(one) == {"input": 9}
        assert (one.attributes or {})["gen_ai.response.model"] == "served"

    def test_has_the_tags_and_the_place_of_its_call(self, provider: ScriptedProvider) -> None:
        provider.answer(llm_server._response({"model": "m"}))
        responses = client(provider).responses

        with capture() as seen:
            with bind(tenant_id="acme"), span("outer"):
                manager = responses.with_streaming_response.create(model="m", input="hi")
                answer = manager.__enter__()
            began = time.time_ns()
            with bind(tenant_id="globex"):
                answer.read()

        one, outer = seen.named("openai.response"), seen.named("outer")
        assert (one.attributes or {})["tenant_id"] == "acme"
        assert one.parent == outer.get_span_context()
        assert (one.start_time or 0) < began < (one.end_time or 0)

    def test_is_validated_by_the_programs_model_once(self, provider: ScriptedProvider) -> None:
        validated: list[str] = []

        class Answer(BaseModel):
            text: str

            @field_validator("text")
            @classmethod
            def note(cls, value: str) -> str:
                validated.append(value)
                return value

        body = llm_server._chat(CHAT)
        body["choices"][0]["message"]["content"] = '{"text": "a"}'
        provider.answer(body)
        completions = client(provider).chat.completions

        with capture() as seen:
            completions.with_raw_response.parse(**CHAT, response_format=Answer).parse()
            with completions.with_streaming_response.parse(**CHAT, response_format=Answer) as answer:
                answer.parse()

        assert validated == ["a", "a"]
        assert [details(one) for one in seen.spans] == [DETAILS, DETAILS]


class TestAnAnswerThatIsNotRead:
    @pytest.mark.parametrize("streams", [False, True])
    def test_stays_unread(self, provider: ScriptedProvider, streams: bool) -> None:
        provider.answer(llm_server._chat_chunks(STREAM) if streams else llm_server._chat(CHAT))
        given = STREAM if streams else CHAT

        with (
            capture() as seen,
            client(provider).chat.completions.with_streaming_response.create(**given) as answer,
        ):
            began = time.time_ns()
            assert not answer.http_response.is_stream_consumed
            assert answer.http_response.num_bytes_downloaded == 0

        (one,) = seen.spans
        attributes = one.attributes or {}
        assert attributes["gen_ai.request.model"] == "m"
        assert not [name for name in attributes if "usage" in name or "response" in name]
        assert (one.end_time or 0) > began

    def test_is_a_span_of_the_responses_api(self, provider: ScriptedProvider) -> None:
        provider.answer(llm_server._response({"model": "m"}))

        with capture() as seen:
            asked = client(provider).responses.with_streaming_response.create(model="m", input="hi")
            with asked:
                pass

        (one,) = seen.spans
        assert (one.attributes or {})["gen_ai.request.model"] == "m"

    def test_ends_its_span_when_it_is_collected(self, provider: ScriptedProvider) -> None:
        provider.answer(llm_server._chat_chunks(STREAM))

        with capture() as seen:
            answer = client(provider).chat.completions.with_raw_response.create(**STREAM)
            assert next(answer.http_response.iter_lines())
            del answer
            gc.collect()

        (one,) = seen.spans
        assert one.status.status_code is not StatusCode.ERROR

    def test_is_not_read_ahead(self, provider: ScriptedProvider) -> None:
        chunks = llm_server._chat_chunks(STREAM)
        provider.answer(encoded(chunks[:1]).replace(b"data: [DONE]\n\n", b""), chunks[1:], waits=True)

        with capture() as seen:
            asked = client(provider).chat.completions.with_streaming_response.create(**STREAM)
            with asked as answer:
                lines = answer.iter_lines()
                first = next(lines)  # the provider has sent no more
                provider.go.set()
                rest = list(lines)

        assert json.loads(first.removeprefix("data: ")) == chunks[0]
        assert rest[-2:] == ["data: [DONE]", ""]
        assert details(seen.spans[0]) == DETAILS

    def test_is_no_request_yet_if_it_answers_in_the_background(self, provider: ScriptedProvider) -> None:
        queued = {**llm_server._response({"model": "m"}), "status": "queued", "usage": None, "output": []}
        provider.answer(queued)
        given: Any = {"model": "m", "input": "hi", "background": True}

        with capture() as seen:
            client(provider).responses.create(**given)
            with client(provider).responses.with_streaming_response.create(**given) as answer:
                answer.parse()

        assert seen.spans == []


class TestAnAnswerThatFails:
    FAULT = (
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}\n\n'
    )

    @pytest.mark.parametrize("way", ["parse", "lines"])
    def test_in_its_stream_is_an_error(self, provider: ScriptedProvider, way: str) -> None:
        provider.answer(encoded(llm_server._message_events(MESSAGE)[:2]), self.FAULT)
        asked = claude(provider).messages.with_streaming_response.create(**MESSAGE, stream=True)

        with capture() as seen, asked as answer:
            if way == "parse":
                with pytest.raises(anthropic.APIStatusError):
                    READS[way](answer)
            else:
                READS[way](answer)

        (one,) = seen.spans
        assert one.status.status_code is StatusCode.ERROR
        assert (one.attributes or {})["error.type"] == "APIStatusError"

    def test_in_the_middle_of_its_body_is_an_error(self, provider: ScriptedProvider) -> None:
        provider.answer(b'{"id": "a", ')
        provider.is_cut = True
        asked = client(provider).chat.completions.with_streaming_response.create(**CHAT)

        with capture() as seen, asked as answer, pytest.raises(Exception, match="incomplete") as raised:
            answer.read()

        (one,) = seen.spans
        assert type(raised.value).__module__.startswith("httpx")
        assert (one.attributes or {})["error.type"] == "RemoteProtocolError"

    def test_because_the_program_reads_it_twice_keeps_its_usage(self, provider: ScriptedProvider) -> None:
        provider.answer(llm_server._chat_chunks(STREAM))
        asked = client(provider).chat.completions.with_streaming_response.create(**STREAM)

        with capture() as seen, asked as answer:
            lines = answer.iter_lines()
            next(lines)
            with pytest.raises(openai._response.StreamAlreadyConsumed):
                answer.read()
            drain(lines)

        assert details(seen.spans[0]) == DETAILS
        assert seen.spans[0].status.status_code is not StatusCode.ERROR

    def test_to_be_json_is_no_error(self, provider: ScriptedProvider) -> None:
        provider.answer(b"no JSON")

        with capture() as seen:
            asked = client(provider).chat.completions.with_streaming_response.create(**CHAT)
            with asked as answer:
                assert answer.text() == "no JSON"

        (one,) = seen.spans
        assert one.status.status_code is not StatusCode.ERROR


class TestTheTextOfABody:
    def test_is_bounded(self) -> None:
        text = BodyText()

        for _ in range(200):
            text.add(b"x" * 100_000)

        assert len(text._text) < 200_000

    def test_ends_with_the_usage_of_the_answer(self) -> None:
        text = BodyText()

        text.add(b'{"id": "e", "data": ["' + b'\\"usage\\": {' * 600_000 + b'"], "usage": {"n": 1}}')

        assert text.value() == ({"id": "e", "usage": {"n": 1}}, False)

    @pytest.mark.parametrize("given", [b"", b"{", b"[1]", b"\xff"])
    def test_may_be_no_object(self, given: bytes) -> None:
        text = BodyText()

        text.add(given)

        assert text.value() == (None, True)
