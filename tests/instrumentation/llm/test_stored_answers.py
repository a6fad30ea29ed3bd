"""An answer of the Responses API is one span with its tokens, however often it is fetched."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from somatrace.instrumentation.llm.isolation.stored_answers import UnfinishedAnswers
from somatrace.testing import capture
from tests.support import llm_server
from tests.support.llm_server import INPUT_TOKENS, OUTPUT_TOKENS
from tests.support.scripted_provider import ScriptedProvider

openai = pytest.importorskip("openai", reason="openai is not installed in this environment")

pytestmark = pytest.mark.filterwarnings("ignore")  # the clients' own, about what a test leaves open

DETAILS: Final = {"input": INPUT_TOKENS, "output": OUTPUT_TOKENS}
_numbers: Final = itertools.count()


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


@pytest.fixture
def responses(provider: ScriptedProvider) -> Any:
    return openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0).responses


def answer(**fields: Any) -> dict[str, Any]:
    """A finished answer with an id that no test has used."""
    return {**llm_server._response({"model": "served"}), "id": f"stored_{next(_numbers)}", **fields}


def details(one: ReadableSpan) -> dict[str, int]:
    found: dict[str, int] = json.loads(str((one.attributes or {})["langfuse.observation.usage_details"]))
    return found


class TestAnAnswerThatIsFetched:
    def test_after_its_call_is_no_further_request(self, provider: ScriptedProvider, responses: Any) -> None:
        given = answer()
        provider.answer(given)

        with capture() as seen:
            responses.create(model="m", input="hi")
            responses.retrieve(given["id"])
            responses.with_raw_response.retrieve(given["id"]).parse()
            with responses.with_streaming_response.retrieve(given["id"]) as raw:
                raw.read()

        assert [details(one) for one in seen.spans] == [DETAILS]

    def test_in_another_process_is_no_request(self, provider: ScriptedProvider, responses: Any) -> None:
        provider.answer(answer(background=False))

        with capture() as seen:
            fetched = responses.retrieve("resp_elsewhere")

        assert fetched.model == "served"
        assert seen.spans == []

    def test_by_an_asynchronous_client_is_no_request(self, provider: ScriptedProvider) -> None:
        provider.answer(answer())

        async def run() -> None:
            async with openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k") as client:
                assert (await client.responses.retrieve("resp_elsewhere")).model == "served"

        with capture() as seen:
            asyncio.run(run())

        assert seen.spans == []

    def test_in_vain_is_an_error(self, responses: Any, provider: ScriptedProvider) -> None:
        provider.close()

        with capture() as seen, pytest.raises(openai.APIConnectionError):
            responses.retrieve("resp_elsewhere")

        (one,) = seen.spans
        assert (one.attributes or {})["error.type"] == "APIConnectionError"


class TestAnAnswerInTheBackground:
    def test_counts_when_it_is_first_seen_to_be_over(
        self, provider: ScriptedProvider, responses: Any
    ) -> None:
        given = answer(background=True)

        with capture() as seen:
            provider.answer({**given, "status": "queued", "usage": None, "output": []})
            responses.create(model="asked", input="hi", background=True)
            responses.retrieve(given["id"])
            provider.answer(given)
            for _ in range(3):
                responses.retrieve(given["id"])

        (one,) = seen.spans
        assert details(one) == DETAILS
        assert (one.attributes or {})["gen_ai.request.model"] == "asked"
        assert (one.attributes or {})["gen_ai.response.model"] == "served"

    def test_of_another_process_counts_once(self, provider: ScriptedProvider, responses: Any) -> None:
        given = answer(background=True)
        provider.answer(given)

        with capture() as seen:
            for _ in range(3):
                responses.retrieve(given["id"])

        assert [details(one) for one in seen.spans] == [DETAILS]

    def test_counts_once_if_its_stream_is_read_again(
        self, provider: ScriptedProvider, responses: Any
    ) -> None:
        events = llm_server._response_events({"model": "served"})
        name = f"stored_{next(_numbers)}"
        for event in events:
            if "response" in event:
                event["response"] |= {"id": name, "background": True}
        provider.answer(events)

        with capture() as seen:
            list(responses.create(model="m", input="hi", stream=True, background=True))
            list(responses.retrieve(name, stream=True))
            provider.answer(answer(id=name, background=True))
            responses.retrieve(name)

        assert [details(one) for one in seen.spans] == [DETAILS]


class TestAnAnswerThatIsNotCompleted:
    INCOMPLETE: Final = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}

    def test_counts_as_billed(self, provider: ScriptedProvider, responses: Any) -> None:
        provider.answer(answer(**self.INCOMPLETE))

        with capture() as seen:
            given = responses.create(model="m", input="hi")
            raw = responses.with_raw_response.create(model="m", input="hi").parse()

        assert (given.status, raw.status) == ("incomplete", "incomplete")
        assert [details(one) for one in seen.spans] == [DETAILS, DETAILS]
        assert (seen.spans[0].attributes or {})["gen_ai.response.finish_reasons"] == ("length",)

    def test_because_it_failed_is_an_error(self, provider: ScriptedProvider, responses: Any) -> None:
        error = {"code": "server_error", "message": "m"}
        provider.answer(answer(status="failed", error=error, usage=None, output=[]))

        with capture() as seen:
            responses.create(model="m", input="hi")

        (one,) = seen.spans
        assert one.status.status_code.name == "ERROR"
        assert (one.attributes or {})["error.type"] == "failed"

    def test_because_it_was_cancelled_is_no_error(self, provider: ScriptedProvider, responses: Any) -> None:
        given = answer(background=True)

        with capture() as seen:
            provider.answer({**given, "status": "queued", "usage": None, "output": []})
            responses.create(model="m", input="hi", background=True)
            provider.answer({**given, "status": "cancelled"})
            for _ in range(2):
                responses.retrieve(given["id"])

        (one,) = seen.spans
        assert one.status.status_code.name != "ERROR"
        assert (one.attributes or {})["somatrace.outcome"] == "cancelled"
        assert details(one) == DETAILS


def _known(status: str | None) -> Any:
    return SimpleNamespace(response_status=status)


def test_only_answers_in_progress_are_kept() -> None:
    kept = UnfinishedAnswers()

    for status in ("queued", "in_progress", "completed", "failed", "cancelled", "incomplete", None):
        kept[str(status)] = _known(status)

    assert sorted(kept) == ["in_progress", "queued"]


def test_a_finished_answer_is_dropped() -> None:
    kept = UnfinishedAnswers()
    kept["r"] = _known("queued")

    kept["r"] = _known("completed")

    assert "r" not in kept


def test_answers_never_fetched_are_dropped_oldest_first() -> None:
    kept = UnfinishedAnswers()

    for number in range(10_000):
        kept[str(number)] = _known("queued")

    assert len(kept) < 1000
    assert "9999" in kept
    assert "0" not in kept
