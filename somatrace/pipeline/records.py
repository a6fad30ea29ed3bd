"""Convert guarded spans to the Records that listeners receive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from opentelemetry.trace.status import StatusCode

from somatrace import semconv
from somatrace.delivery.outgoing_span import OutgoingSpan
from somatrace.listeners.record import Phase, Record

_STATUS: dict[StatusCode, Literal["unset", "ok", "error"]] = {
    StatusCode.UNSET: "unset",
    StatusCode.OK: "ok",
    StatusCode.ERROR: "error",
}
_OPERATIONS = {operation: kind for kind, (_, operation, _) in semconv.KINDS.items() if operation}


def record_of(phase: Phase, span: OutgoingSpan) -> Record:
    """The record of a guarded span, or of the single event of its copy."""
    context = span.context
    assert context is not None
    attributes = {**span.own, **span.tagged}
    name, time_ns = span.name, span.start_time or 0
    if phase == "event":
        (event,) = span.events
        name, time_ns, attributes = event.name, event.timestamp, dict(event.attributes or {})
    elif phase == "ended":
        time_ns = span.end_time or 0
    ended = phase == "ended" and span.end_time is not None and span.start_time is not None
    return Record(
        phase=phase,
        name=name,
        span_name=span.name,
        kind=_kind(span.own),
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent is not None else None,
        time_ns=time_ns,
        duration_ns=(span.end_time or 0) - (span.start_time or 0) if ended else None,
        status=_STATUS[span.status.status_code],
        tags={**span.tags.derived, **span.tags.bound},
        attributes=attributes,
    )


def _kind(attributes: Mapping[str, Any]) -> str:
    """The kind that the span declares, or that follows from the instrumentor's operation name."""
    declared = attributes.get(semconv.SPAN_KIND)
    if declared is not None:
        return str(declared)
    return _OPERATIONS.get(str(attributes.get(semconv.OPERATION)), "step")
