"""The places of a span's failures: noted when they were recorded, or read from the events' texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event

from somatrace import semconv
from somatrace.context.failure_notes import failure_of
from somatrace.context.span_state import SpanState
from somatrace.pipeline.stack_text import place_in_text


def place_of_event(
    number: object, given: Mapping[str, Any], guarded: Mapping[str, Any], state: SpanState | None
) -> str:
    """The place of an exception event: the one noted under `number`, or as much as its stack text proves."""
    failure = failure_of(number, state)
    if failure is not None:
        return failure.place
    text = given.get(semconv.EXCEPTION_STACKTRACE)
    if not isinstance(text, str):
        return ""
    return place_in_text(str.__str__(text), str(guarded.get(semconv.EXCEPTION_TYPE, "")))


def place_of_span(guarded: Sequence[Event], state: SpanState | None, *, closed: bool) -> str:
    """The place of a span's last failure, even if a limit has dropped its event.

    Guarded events hold the place while content is off (`closed`), and otherwise the whole stack text.
    """
    if state is not None and state.failures:
        return state.failures[-1].place
    for event in reversed(guarded):
        attributes = event.attributes or {}
        text = attributes.get(semconv.EXCEPTION_STACKTRACE)
        if isinstance(text, str):
            return text if closed else place_of_event(None, attributes, attributes, None)
    return ""
