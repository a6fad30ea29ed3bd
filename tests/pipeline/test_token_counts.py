"""Spans with tokens carry Langfuse's usage: disjoint counts, whatever names the instrumentor has for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry import trace

from somatrace.local.otlp import usage as langfuse
from somatrace.pipeline.token_counts import token_counts
from somatrace.testing import capture

OPENLLMETRY = "opentelemetry.instrumentation."
#: Dollars per million tokens, from Langfuse's table of o4-mini.
O4_MINI = {
    "input": 1.1, "input_cached_tokens": 0.275, "output": 4.4, "output_reasoning_tokens": 4.4,
    "reasoning_tokens": 4.4, "cache_read_input_tokens": 0.275,
}  # fmt: skip


def genai(**counts: int) -> dict[str, int]:
    """Attributes of the GenAI conventions; `__` in a name becomes a dot."""
    return {f"gen_ai.usage.{name.replace('__', '.')}": count for name, count in counts.items()}


def openinference(**counts: int) -> dict[str, int]:
    return {f"llm.token_count.{name.replace('__', '.')}": count for name, count in counts.items()}


def sent(scope: str, attributes: dict[str, Any]) -> dict[str, Any]:
    with capture() as seen:
        trace.get_tracer(scope).start_span("call", attributes=attributes).end()
    return dict(seen.named("call").attributes or {})


CASES: list[tuple[str, str, dict[str, Any], dict[str, int]]] = [
    (
        "openai chat with reasoning and cached input",
        OPENLLMETRY + "openai.v1",
        genai(input_tokens=100, cache_read__input_tokens=40, output_tokens=1000, reasoning_tokens=900,
              total_tokens=1100),
        {"input": 60, "input_cached_tokens": 40, "output": 100, "output_reasoning_tokens": 900},
    ),
    (
        "openai embeddings",
        OPENLLMETRY + "openai.v1",
        genai(input_tokens=9, total_tokens=9),
        {"input": 9},
    ),
    (
        "openai with audio, in the names of its price list",
        OPENLLMETRY + "openai.v1",
        {"gen_ai.request.model": "gpt-4o-audio-preview"}
        | genai(input_tokens=30, audio__input_tokens=20, output_tokens=50, audio__output_tokens=40),
        {"input_text_tokens": 10, "input_audio_tokens": 20, "output_text_tokens": 10,
         "output_audio_tokens": 40},
    ),
    (
        "gemini with audio",
        OPENLLMETRY + "google_generativeai",
        {"gen_ai.request.model": "gemini-2.5-flash"}
        | genai(input_tokens=30, audio__input_tokens=20, output_tokens=50, reasoning__output_tokens=40),
        {"input": 10, "input_audio_tokens": 20, "output": 10, "output_reasoning_tokens": 40},
    ),
    (
        "anthropic with a cache",
        OPENLLMETRY + "anthropic",
        genai(input_tokens=16, cache_read__input_tokens=3, cache_creation__input_tokens=2, output_tokens=7),
        {"input": 11, "input_cached_tokens": 3, "input_cache_creation": 2, "output": 7},
    ),
    (
        "anthropic with caches of two durations",
        OPENLLMETRY + "anthropic",
        genai(input_tokens=20, cache_creation__input_tokens=9, output_tokens=7,
              cache_creation__ephemeral_5m_input_tokens=4, cache_creation__ephemeral_1h_input_tokens=5),
        {"input": 11, "input_cache_creation_5m": 4, "input_cache_creation_1h": 5, "output": 7},
    ),
    (
        "bedrock, whose input leaves out the cached tokens",
        OPENLLMETRY + "bedrock",
        genai(input_tokens=100, cache_read__input_tokens=30, cache_creation__input_tokens=5, output_tokens=7,
              total_tokens=107),
        {"input": 100, "input_cached_tokens": 30, "input_cache_creation": 5, "output": 7},
    ),
    (
        "llama-index above anthropic, whose input leaves out the cached tokens",
        OPENLLMETRY + "llamaindex",
        {"gen_ai.provider.name": "anthropic"}
        | genai(input_tokens=100, cache_read__input_tokens=30, output_tokens=7),
        {"input": 100, "input_cached_tokens": 30, "output": 7},
    ),
    (
        "any scope whose cached tokens exceed its input",
        "a.scope.of.these.tests",
        genai(input_tokens=4, cache_read_input_tokens=30, output_tokens=7),
        {"input": 4, "input_cached_tokens": 30, "output": 7},
    ),
    (
        "a provider whose output leaves out reasoning, as the total shows",
        OPENLLMETRY + "openai.v1",
        genai(input_tokens=10, output_tokens=7, reasoning_tokens=5, total_tokens=22),
        {"input": 10, "output": 7, "output_reasoning_tokens": 5},
    ),
    (
        "openai agents",
        OPENLLMETRY + "openai_agents",
        genai(input_tokens=10, cache_read__input_tokens=4, output_tokens=7, reasoning_tokens=5),
        {"input": 6, "input_cached_tokens": 4, "output": 2, "output_reasoning_tokens": 5},
    ),
    (
        "litellm with its old name of the total",
        OPENLLMETRY + "litellm",
        genai(input_tokens=10, output_tokens=7) | {"llm.usage.total_tokens": 17},
        {"input": 10, "output": 7},
    ),
    ("a total alone", OPENLLMETRY + "voyageai", {"llm.usage.total_tokens": 17}, {"total": 17}),
    (
        "cohere with the names before the conventions",
        OPENLLMETRY + "cohere",
        genai(prompt_tokens=10, completion_tokens=7) | {"llm.usage.total_tokens": 17},
        {"input": 10, "output": 7},
    ),
    (
        "pydantic-ai with details",
        "pydantic-ai",
        genai(input_tokens=100, output_tokens=50, details__reasoning_tokens=20, details__cached_tokens=40,
              details__accepted_prediction_tokens=3),
        {"input": 60, "input_cached_tokens": 40, "output": 30, "output_reasoning_tokens": 20},
    ),
    (
        "openinference",
        "openinference.instrumentation.openai",
        openinference(prompt=100, prompt_details__cache_read=40, prompt_details__cache_write=5, completion=50,
                      completion_details__reasoning=20, total=150),
        {"input": 55, "input_cached_tokens": 40, "input_cache_creation": 5, "output": 30,
         "output_reasoning_tokens": 20},
    ),
    (
        "openinference with audio",
        "openinference.instrumentation.openai",
        openinference(prompt=30, prompt_details__audio=20, completion=50, completion_details__audio=40),
        {"input": 10, "input_audio_tokens": 20, "output": 10, "output_audio_tokens": 40},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "attributes", "details"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
class TestUsageOfAnInstrumentor:
    def test_is_sent_as_disjoint_counts(
        self, scope: str, attributes: dict[str, Any], details: dict[str, int]
    ) -> None:
        assert json.loads(sent(scope, attributes)["langfuse.observation.usage_details"]) == details

    def test_has_the_total_of_its_parts(
        self, scope: str, attributes: dict[str, Any], details: dict[str, int]
    ) -> None:
        assert langfuse.usage(sent(scope, attributes)).total == sum(details.values())


def test_reasoning_is_billed_once() -> None:
    attributes = sent(
        OPENLLMETRY + "openai.v1", genai(input_tokens=100, output_tokens=1000, reasoning_tokens=900)
    )

    counts = langfuse.usage(attributes).details
    cost = sum(O4_MINI.get(name, 0) * count for name, count in counts.items()) / 1e6

    assert round(cost, 8) == 0.00451


def test_the_instrumentors_own_attributes_stay() -> None:
    given = genai(input_tokens=100, output_tokens=1000, reasoning_tokens=900)

    assert given.items() <= sent(OPENLLMETRY + "openai.v1", given).items()


def test_usage_that_the_program_gives_in_langfuses_form_stays() -> None:
    given = {"langfuse.observation.usage_details": '{"input": 1, "output": 2}'} | genai(input_tokens=100)

    assert sent("langfuse-sdk", given)["langfuse.observation.usage_details"] == '{"input": 1, "output": 2}'


@pytest.mark.parametrize(
    "attributes",
    [{}, {"gen_ai.request.model": "m"}, genai(reasoning_tokens=5), {"gen_ai.usage.input_tokens": -1}],
)
def test_unknown_usage_is_not_sent_as_0(attributes: dict[str, Any]) -> None:
    details = sent("a.scope.of.these.tests", attributes).get("langfuse.observation.usage_details")

    assert details in (None, "{}")


@pytest.mark.parametrize(
    ("details", "tokens"),
    [
        ('{"input": 3, "input_cached_tokens": 2, "output": 4, "total": 9}', 9),
        ('{"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}', 9),
        ('{"input_tokens": 5, "output_tokens": 4, "total_tokens": 9, "output_tokens_details": {"a": 1}}', 9),
        ('{"total": 9}', 9),
        ('{"units": 9}', 9),
        ("{}", 0),
        ("[9]", 0),
        ("{", 0),
    ],
)
def test_usage_in_langfuses_form_is_read(details: str, tokens: int) -> None:
    assert token_counts({"langfuse.observation.usage_details": details}).all == tokens
