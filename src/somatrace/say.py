"""What a program says in a unit of work: `event`, `content`, `usage`, `fail`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from somatrace import names

log = logging.getLogger("somatrace")

MAX_CONTENT = 256 * 1024

#: Told of each declared event: the span and the event's index. Set by the road when somebody listens.
on_event: Callable[[Any, int], None] | None = None


def event(name: str, /, **fields: Any) -> None:
    """Something that happened in the current span. Fields are short strings, numbers or booleans.

    Without a span that records, nothing is kept.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    kept = {key: _plain(value) for key, value in fields.items() if value is not None}
    span.add_event(str(name), {**kept, names.DECLARED: True})
    if on_event is not None:
        on_event(span, len(span.events) - 1)  # type: ignore[attr-defined]


def content(*, input: Any = None, output: Any = None) -> None:  # noqa: A002 - Langfuse's own words
    """What went into the current span's work and what came out, for tenants whose policy allows content.

    Anything that JSON can hold; objects it cannot are left out. Where content is off the guard
    removes it and notes its length.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    for key, value in ((names.OBSERVATION_INPUT, input), (names.OBSERVATION_OUTPUT, output)):
        if value is not None:
            try:
                text = (
                    value
                    if isinstance(value, str)
                    else json.dumps(value, default=_unknown, ensure_ascii=False)
                )
            except (TypeError, ValueError, RecursionError):
                continue
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
    said: dict[str, Any] = {
        names.REQUEST_MODEL: model,
        names.RESPONSE_MODEL: model,
        names.INPUT_TOKENS: input_tokens,
        names.OUTPUT_TOKENS: output_tokens,
        names.CACHE_READ_TOKENS: cache_read_tokens,
        names.CACHE_CREATION_TOKENS: cache_creation_tokens,
        names.REASONING_TOKENS: reasoning_tokens,
    }
    if cost is not None:
        said |= {names.COST_AMOUNT: float(cost), names.COST_CURRENCY: currency, names.COST_SOURCE: "provider"}
        said[names.OBSERVATION_COST] = json.dumps({"total": float(cost)})
        said[names.OBSERVATION_USAGE] = json.dumps(_usage_details(said))
    span.set_attributes({key: value for key, value in said.items() if value is not None})


def fail(code: str, message: str = "", /, *, retryable: bool | None = None) -> None:
    """Mark the current span as failed, with a code that dashboards can group by.

    `message` is for people; where content is off only the code leaves the process.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attribute(names.ERROR_TYPE, str(code))
    span.set_attribute(names.ERROR_CODE, str(code))
    if retryable is not None:
        span.set_attribute(names.ERROR_RETRYABLE, bool(retryable))
    span.set_status(Status(StatusCode.ERROR, str(message) or str(code)))


def _usage_details(said: dict[str, Any]) -> dict[str, int]:
    """Usage in Langfuse's words, disjoint. Without it Langfuse takes every number below
    `gen_ai.usage.` for tokens, the amount of the cost among them."""
    parts = {
        "input_cached_tokens": said[names.CACHE_READ_TOKENS],
        "input_cache_creation": said[names.CACHE_CREATION_TOKENS],
        "output_reasoning_tokens": said[names.REASONING_TOKENS],
    }
    known = {name: count for name, count in parts.items() if count is not None}
    if said[names.INPUT_TOKENS] is not None:
        cached = known.get("input_cached_tokens", 0) + known.get("input_cache_creation", 0)
        known["input"] = max(0, said[names.INPUT_TOKENS] - cached)
    if said[names.OUTPUT_TOKENS] is not None:
        known["output"] = max(0, said[names.OUTPUT_TOKENS] - known.get("output_reasoning_tokens", 0))
    return known


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
