"""Mark the spans of answers that have failed, also where no exception says so.

A provider that fails while it answers says so in the answer: in a stream the request has long succeeded.
Instrumentors do not look for it, and set the status of each answer that ends to OK.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import trace

from somatrace import semconv
from somatrace.context.control_flow import outcome_of
from somatrace.context.span_state import state_of
from somatrace.runtime.fail_safe import fail_safe
from somatrace.runtime.type_names import type_name

#: Events of OpenAI's Responses API that end a stream.
_FAILED_EVENTS: Final = ("response.failed", "error")
#: Finish reasons of OpenAI's chat and its kind, and those of cohere.
_ERROR: Final = "error"
_COHERE_ERRORS: Final = ("ERROR", "ERROR_LIMIT", "ERROR_TOXIC", "TIMEOUT")


def failure_in(answer: Any) -> str:
    """The error type of an answer, or item of a stream, that its provider reports as failed, or ""."""
    with fail_safe("answer failures"):
        if type(answer) is dict:
            return ""  # clients of AWS raise
        parse = vars(answer).get("parse") if hasattr(answer, "__dict__") else None
        answer = parse() if callable(parse) else answer  # of an HTTP response that has been read
        answer = getattr(answer, "data", answer)  # mistralai's events hold the chunk
        if getattr(answer, "type", None) in _FAILED_EVENTS:
            return "failed"
        if getattr(answer, "object", None) == "response" and getattr(answer, "status", None) == "failed":
            return "failed"
        choices = getattr(answer, "choices", None)
        if isinstance(choices, (list, tuple)):
            reasons = [getattr(choice, "finish_reason", None) for choice in choices]
            return _ERROR if _ERROR in reasons else ""
        delta = getattr(answer, "delta", None)
        reason = getattr(answer, "finish_reason", None) or getattr(delta, "finish_reason", None)
        return str(reason).lower() if reason in _COHERE_ERRORS else ""
    return ""


def mark_failed(span: trace.Span, error: BaseException | str) -> None:
    """Mark the span of a failed answer, with the outcome of an exception that is control flow. A status of OK
    that the span gets later has no effect.

    `error`: an exception, or an error type.
    """
    if not span.is_recording():
        return
    outcome = outcome_of(error) if isinstance(error, BaseException) else ""
    if outcome:
        span.set_attribute(semconv.OUTCOME, outcome)
        return
    kind = type_name(error) if isinstance(error, BaseException) else error
    span.set_status(trace.Status(trace.StatusCode.ERROR, kind))
    span.set_attribute(semconv.ERROR_TYPE, kind)
    state = state_of(span)
    if state is not None:
        state.answer_failed = True
