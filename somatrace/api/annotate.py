"""What a program says in a unit of work: `event`, `content`, `usage`, `fail`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from somatrace import semconv
from somatrace.context.span_state import DECLARED_MARK
from somatrace.runtime.fail_safe import fail_safe, text_of

MAX_CONTENT = 256 * 1024

#: Told of each declared event: the span, the event's name, fields, and time in nanoseconds. Set by the road.
on_event: Callable[[Any, str, dict[str, Any], int], None] | None = None


def event(name: str, /, **fields: Any) -> None:
    """Something that happened in the current span. Fields are short strings, numbers or booleans.

    Without a span that records, nothing is kept.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    with fail_safe("event"):
        kept = {key: _plain(value) for key, value in fields.items() if value is not None}
        said, now = text_of(name), time.time_ns()
        span.add_event(said, {**kept, semconv.DECLARED: DECLARED_MARK}, now)
        if on_event is not None:
            on_event(span, said, kept, now)


def content(*, input: Any = None, output: Any = None) -> None:  # noqa: A002 - Langfuse's own words
    """What went into the current span's work and what came out, for tenants whose policy allows content.

    Anything that JSON can hold; objects it cannot are left out. Where content is off the guard
    removes it and notes its length.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    for key, value in ((semconv.OBSERVATION_INPUT, input), (semconv.OBSERVATION_OUTPUT, output)):
        if value is not None:
            with fail_safe("content"):
                plain = isinstance(value, str)
                text = value if plain else json.dumps(value, default=_unknown, ensure_ascii=False)
                span.set_attribute(key, text[:MAX_CONTENT])


def usage(
    *,
    model: str | None = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cache_read_tokens: int | None = None,
    cache_creation_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    cost: float | None = None,
    currency: str = "USD",
) -> None:
    """What the current span's model call used. Tokens are counts; `input_tokens` includes cached ones.

    Leave out what is not known: unknown is not 0. `cost` is in `currency` (ISO 4217).
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    with fail_safe("usage"):
        tokens = {
            semconv.INPUT_TOKENS: input_tokens,
            semconv.OUTPUT_TOKENS: output_tokens,
            semconv.CACHE_READ_TOKENS: cache_read_tokens,
            semconv.CACHE_CREATION_TOKENS: cache_creation_tokens,
            semconv.REASONING_TOKENS: reasoning_tokens,
        }
        said: dict[str, Any] = {key: _count(value) for key, value in tokens.items()}
        said |= {semconv.REQUEST_MODEL: model, semconv.RESPONSE_MODEL: model}
        amount = _amount(cost)
        if amount is not None:
            said |= {
                semconv.COST_AMOUNT: amount,
                semconv.COST_CURRENCY: currency,
                semconv.COST_SOURCE: "provider",
            }
            said[semconv.OBSERVATION_COST] = json.dumps({"total": amount})
            said[semconv.OBSERVATION_USAGE] = json.dumps(_usage_details(said))
        span.set_attributes({key: value for key, value in said.items() if value is not None})


def fail(code: str, message: str = "", /, *, retryable: bool | None = None) -> None:
    """Mark the current span as failed, with a code that dashboards can group by.

    `message` is for people; where content is off only the code leaves the process.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    with fail_safe("fail"):
        said = text_of(code)
        span.set_status(Status(StatusCode.ERROR, text_of(message) or said))
        span.set_attribute(semconv.ERROR_TYPE, said)
        span.set_attribute(semconv.ERROR_CODE, said)
        if retryable is not None:
            span.set_attribute(semconv.ERROR_RETRYABLE, bool(retryable))


def _usage_details(said: dict[str, Any]) -> dict[str, int]:
    """Usage in Langfuse's words, disjoint. Without it Langfuse takes every number below
    `gen_ai.usage.` for tokens, the amount of the cost among them."""
    parts = {
        "input_cached_tokens": said[semconv.CACHE_READ_TOKENS],
        "input_cache_creation": said[semconv.CACHE_CREATION_TOKENS],
        "output_reasoning_tokens": said[semconv.REASONING_TOKENS],
    }
    known = {name: count for name, count in parts.items() if count is not None}
    if said[semconv.INPUT_TOKENS] is not None:
        cached = known.get("input_cached_tokens", 0) + known.get("input_cache_creation", 0)
        known["input"] = max(0, said[semconv.INPUT_TOKENS] - cached)
    if said[semconv.OUTPUT_TOKENS] is not None:
        known["output"] = max(0, said[semconv.OUTPUT_TOKENS] - known.get("output_reasoning_tokens", 0))
    return known


def _count(value: Any) -> int | None:
    """A number of tokens, of whatever library's number type; None for what is none: unknown is not 0."""
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return count if 0 <= count < 2**63 else None


def _amount(value: Any) -> float | None:
    """An amount of money; None for what is none. JSON has no words for infinite ones."""
    try:
        amount = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return amount if math.isfinite(amount) else None


def _plain(value: Any) -> Any:
    """A value an attribute can hold; of other objects only their type is said."""
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, type(value[0])) for item in value):
        return (
            tuple(value)
            if not value or isinstance(value[0], (str, bool, int, float))
            else f"[{len(value)} items]"
        )
    return type(value).__name__


def _unknown(value: object) -> str:
    return f"<{type(value).__name__}>"
