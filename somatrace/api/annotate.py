"""Annotate the current span: `event`, `content`, `usage`, `fail`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from somatrace import semconv
from somatrace.api import costs
from somatrace.context.attribute_values import attribute_text, attribute_value
from somatrace.context.off_switch import is_off
from somatrace.context.plain_numbers import amount, count, plain_number
from somatrace.context.span_state import DECLARED_MARK, state_of
from somatrace.runtime.fail_safe import fail_safe, text_of
from somatrace.runtime.misuse import report_misuse
from somatrace.runtime.type_names import type_name

MAX_CONTENT = 256 * 1024

N = TypeVar("N", int, float)


def event(name: str, /, **fields: Any) -> None:
    """Record an event on the current span. Fields are short strings, numbers or booleans; other values are
    converted as those of `span`.

    Does nothing without a recording span.
    """
    span = _recording_span("event")
    if span is None:
        return
    with fail_safe("event"):
        _expect_text("event", "name", name)
        kept = {key: attribute_value(value) for key, value in fields.items() if value is not None}
        text, now = attribute_text(name), time.time_ns()
        span.add_event(text, {**kept, semconv.DECLARED: DECLARED_MARK}, now)
        state = state_of(span)
        if state is not None and state.owner is not None:
            state.owner.on_event(span, text, kept, now)


def content(*, input: Any = None, output: Any = None) -> None:  # noqa: A002 - Langfuse's terms
    """Record input and output of the current span, for tenants whose policy allows content.

    Accepts any JSON-serializable value; other objects are replaced by their type. If content is off, the
    guard removes it and records its length.
    """
    span = _recording_span("content")
    if span is None:
        return
    for key, value in ((semconv.OBSERVATION_INPUT, input), (semconv.OBSERVATION_OUTPUT, output)):
        if value is not None:
            with fail_safe("content"):
                plain = isinstance(value, str)
                text = value if plain else json.dumps(value, default=_type_marker, ensure_ascii=False)
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
    usd_rate: float | None = None,
) -> None:
    """Record the usage of the current span's model call. `input_tokens` includes cached tokens.

    Omit unknown values: unknown is not 0. `cost` is in `currency` (ISO 4217), of which one unit is worth
    `usd_rate` US dollars. Langfuse reads every cost as dollars: without a rate, it gets none in another one.
    """
    span = _recording_span("usage")
    if span is None:
        return
    with fail_safe("usage"):
        if model is not None:
            _expect_text("usage", "model", model)
        tokens = {
            semconv.INPUT_TOKENS: ("input_tokens", input_tokens),
            semconv.OUTPUT_TOKENS: ("output_tokens", output_tokens),
            semconv.CACHE_READ_TOKENS: ("cache_read_tokens", cache_read_tokens),
            semconv.CACHE_CREATION_TOKENS: ("cache_creation_tokens", cache_creation_tokens),
            semconv.REASONING_TOKENS: ("reasoning_tokens", reasoning_tokens),
        }
        attributes: dict[str, Any] = {key: _read(count, *given) for key, given in tokens.items()}
        name = None if model is None else attribute_text(model)
        attributes |= {semconv.REQUEST_MODEL: name, semconv.RESPONSE_MODEL: name}
        paid = _read(amount, "cost", cost)
        if paid is not None:
            code = attribute_text(currency)
            attributes |= {
                semconv.COST_AMOUNT: paid,
                semconv.COST_CURRENCY: code,
                semconv.COST_SOURCE: "provider",
            }
            dollars = costs.in_dollars(paid, code, _read(amount, "usd_rate", usd_rate))
            if dollars is not None:
                attributes[semconv.OBSERVATION_COST] = json.dumps({"total": dollars})
        span.set_attributes({key: value for key, value in attributes.items() if value is not None})


def fail(code: str, message: str = "", /, *, retryable: bool | None = None) -> None:
    """Mark the current span as failed, with a code that dashboards can group by.

    `message` is for people; if content is off, only the code leaves the process.
    """
    span = _recording_span("fail")
    if span is None:
        return
    with fail_safe("fail"):
        _expect_text("fail", "code", code)
        text = attribute_text(code)
        span.set_status(Status(StatusCode.ERROR, text_of(message) or text))
        span.set_attribute(semconv.ERROR_TYPE, text)
        span.set_attribute(semconv.ERROR_CODE, text)
        flag = retryable if type(retryable) is bool else plain_number(retryable)
        if flag is not None:
            span.set_attribute(semconv.ERROR_RETRYABLE, bool(flag))


def _recording_span(caller: str) -> Span | None:
    """The current span; None if it is not recorded, which is a misuse where there is no span at all."""
    span = trace.get_current_span()
    if span.is_recording():
        return span
    if span is not trace.INVALID_SPAN or is_off():
        return None
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        report_misuse(f"{caller}: called outside of any span, ignored: call it inside `span`")
    return None


def _expect_text(caller: str, argument: str, value: object) -> None:
    if not isinstance(value, str):
        report_misuse(f"{caller}: {argument} is a {type_name(value)}: pass a short string")


def _read(convert: Callable[[object], N | None], name: str, value: object) -> N | None:
    """The converted number of any number type; None if it is not one, because unknown is not 0."""
    if value is None:
        return None
    number = convert(value)
    if number is None:
        wanted = "a number" if convert is amount else "a number of 0 or more"
        report_misuse(f"usage: {name}: a value of type {type_name(value)} is ignored: pass {wanted}")
    elif isinstance(value, str):
        report_misuse(f"usage: {name}: text is read as a number: pass the number itself")
    return number


def _type_marker(value: object) -> str:
    return f"<{type_name(value)}>"
