"""All tokens of Google's models count: of thoughts, of tools' results, and of requests that the SDK adds."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace

from somatrace.instrumentation.llm import google_tokens
from somatrace.testing import Captured, capture
from tests.leak_matrix import dialects
from tests.leak_matrix.cases import provider

USAGE = {
    "promptTokenCount": 11,
    "toolUsePromptTokenCount": 3,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 20,
    "totalTokenCount": 41,
}
COUNTED = {"input_tokens": 14, "output_tokens": 27, "reasoning.output_tokens": 20, "total_tokens": 41}


def metadata(**given: Any) -> SimpleNamespace:
    names = ("prompt", "candidates", "total", "thoughts", "tool_use_prompt", "cached_content")
    return SimpleNamespace(**{f"{name}_token_count": given.get(name) for name in names})


def counted(attributes: Any) -> dict[str, Any]:
    names = {key: key.removeprefix("gen_ai.usage.") for key in attributes}
    return {
        name: attributes[key] for key, name in names.items() if name != key and not name.startswith("cost.")
    }


def instrumented(span: Any, answer: Any, *_: Any) -> None:
    """Records usage as the instrumentors do, which cannot be imported without their libraries."""
    usage = getattr(answer, "usage_metadata", answer)
    for key, count in (("input", "prompt"), ("output", "candidates"), ("total", "total")):
        value = getattr(usage, f"{count}_token_count", None)
        if value is not None:
            span.set_attribute(f"gen_ai.usage.{key}_tokens", value)


class TestAnInstrumentor:
    def answered(self, *answer: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        module: Any = types.ModuleType("instrumentor")
        module.set_model_response_attributes = lambda span, *given: instrumented(span, given[-1])
        monkeypatch.setitem(sys.modules, "instrumentor", module)
        google_tokens.count_all("instrumentor")
        with capture() as seen, trace.get_tracer("google").start_as_current_span("call") as span:
            module.set_model_response_attributes(span, *answer)
        (call,) = seen.spans
        return counted(call.attributes)

    def test_counts_thoughts_as_output(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = SimpleNamespace(usage_metadata=metadata(prompt=11, candidates=7, thoughts=20, total=38))

        assert self.answered(answer, monkeypatch=monkeypatch) == {
            "input_tokens": 11,
            "output_tokens": 27,
            "reasoning.output_tokens": 20,
            "total_tokens": 38,
        }

    def test_that_is_given_the_usage_itself_counts_them_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = metadata(prompt=11, candidates=7, thoughts=20, total=38)

        assert self.answered("gemini", usage, monkeypatch=monkeypatch)["output_tokens"] == 27

    def test_counts_results_of_tools_as_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = metadata(prompt=11, candidates=7, tool_use_prompt=3, total=21)

        assert self.answered(usage, monkeypatch=monkeypatch) == {
            "input_tokens": 14,
            "output_tokens": 7,
            "total_tokens": 21,
        }

    def test_counts_an_answer_of_thoughts_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = metadata(prompt=11, thoughts=20, total=31)

        assert self.answered(usage, monkeypatch=monkeypatch)["output_tokens"] == 20

    def test_of_an_answer_without_usage_counts_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.answered(SimpleNamespace(usage_metadata=None), monkeypatch=monkeypatch) == {}


# of google-genai's own session
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
class TestTheClient:
    """Runs where google-genai is installed: it does not fit the development environment."""

    @pytest.fixture
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Captured, Any]]:
        pytest.importorskip("google.genai")
        answer = dialects._gemini
        monkeypatch.setattr(dialects, "_gemini", lambda *given: {**answer(*given), "usageMetadata": USAGE})
        with capture(timeout=60) as captured:
            from google import genai

            options = genai.types.HttpOptions(base_url=provider.url)
            yield captured, genai.Client(api_key="k", http_options=options)

    def totals(self, seen: Captured) -> list[dict[str, Any]]:
        trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
        return [counted(span.attributes) for span in seen.spans]

    def test_counts_thoughts_and_results_of_tools(self, seen: tuple[Captured, Any]) -> None:
        captured, client = seen

        client.models.generate_content(model="gemini", contents="hi")
        asyncio.run(client.aio.models.generate_content(model="gemini", contents="hi"))
        for _ in client.models.generate_content_stream(model="gemini", contents="hi"):
            pass

        assert self.totals(captured) == [COUNTED] * 3

    def test_counts_each_request_of_a_call_that_runs_functions(self, seen: tuple[Captured, Any]) -> None:
        captured, client = seen

        def search(query: str) -> str:
            """Search."""
            return query

        config = {"tools": [search]}
        client.models.generate_content(model="gemini", contents="hi", config=config)
        asyncio.run(client.aio.models.generate_content(model="gemini", contents="hi", config=config))

        assert self.totals(captured) == [{key: 2 * count for key, count in COUNTED.items()}] * 2
