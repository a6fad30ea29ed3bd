"""The traced program: workflows of five spans, one of them a model call with 25 attributes."""

from __future__ import annotations

import json
import random

from opentelemetry.trace import Span, SpanKind
from systems import System

SPANS = 5
_REQUEST = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.top_p": 0.95,
    "gen_ai.request.max_tokens": 400,
    "gen_ai.request.frequency_penalty": 0.0,
    "gen_ai.request.presence_penalty": 0.0,
    "gen_ai.request.seed": 7,
    "gen_ai.is_streaming": False,
    "gen_ai.openai.api_base": "http://127.0.0.1:8400/v1/",
    "gen_ai.output.type": "text",
    "server.address": "127.0.0.1",
    "server.port": 8400,
    "llm.request.type": "chat",
}
_RESPONSE = {
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.openai.response.service_tier": "default",
    "gen_ai.usage.cache_read.input_tokens": 0,
    "gen_ai.usage.reasoning.output_tokens": 0,
}
_WORDS = (
    "the model answered that we should compare the results of both runs and then decide which of them is "
    "better for users in Berlin because every answer takes about two seconds and costs less than last year"
)


def call_attributes(number: int) -> dict[str, object]:
    """The 25 attributes of one model call."""
    read, written = 700 + number % 211, 60 + number % 97
    return {
        **_REQUEST,
        **_RESPONSE,
        "gen_ai.response.id": f"chatcmpl-{number:08x}Qx{number % 7}",
        "gen_ai.usage.input_tokens": read,
        "gen_ai.usage.output_tokens": written,
        "gen_ai.usage.total_tokens": read + written,
    }


def messages(number: int) -> tuple[str, str]:
    """Prompt and answer of 3 KB, like those of no other call; one in five names an address."""
    drawn = random.Random(number)
    texts = [" ".join(drawn.choices(_WORDS.split(), k=count)) for count in (380, 180)]
    if number % 5 == 0:
        texts[0] += f" Write to ada.{number}@example.com."
    return tuple(
        json.dumps([{"role": role, "parts": [{"type": "text", "content": f"{number}: {text}"}]}])
        for role, text in zip(("user", "assistant"), texts, strict=True)
    )  # type: ignore[return-value]


def set_call(call: Span, number: int, content: tuple[str, str] | None = None) -> None:
    for key, value in call_attributes(number).items():
        call.set_attribute(key, value)  # type: ignore[arg-type]
    if content is not None:
        call.set_attribute("gen_ai.input.messages", content[0])
        call.set_attribute("gen_ai.output.messages", content[1])


def workflow(system: System, number: int, content: tuple[str, str] | None = None) -> None:
    start = system.tracer.start_as_current_span
    with system.tenant(number), start("answer") as root:
        root.set_attribute("question.number", number)
        with start("plan") as step:
            step.set_attribute("step.number", 1)
        with start("retrieve") as step:
            step.set_attributes({"db.system.name": "chroma", "retrieval.documents": 4})
        with (system.client or system.tracer).start_as_current_span(
            "openai.chat", kind=SpanKind.CLIENT
        ) as call:
            set_call(call, number, content)
        with start("write") as step:
            step.set_attribute("step.number", 2)
