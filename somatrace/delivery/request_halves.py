"""Split an encoded OTLP request: to isolate a span that a target rejects, or for one that takes fewer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

    Placed = tuple[ResourceSpans, ScopeSpans, Span]


def halves(body: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]] | None:
    """Split a request into two, each with its span count; None if it contains fewer than two spans."""
    flat = _spans(body)
    if len(flat) < 2:
        return None
    middle = len(flat) // 2
    return (_request(flat[:middle]), middle), (_request(flat[middle:]), len(flat) - middle)


def pieces(body: bytes, most: int) -> list[tuple[bytes, int]]:
    """Split a request into as few as possible of at most `most` spans, each with its span count."""
    flat = _spans(body)
    parts = [flat[start : start + most] for start in range(0, len(flat), most)]
    return [(_request(part), len(part)) for part in parts]


def _spans(body: bytes) -> list[Placed]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    return [(r, s, span) for r in request.resource_spans for s in r.scope_spans for span in s.spans]


def _request(part: Iterable[Placed]) -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    made = ExportTraceServiceRequest()
    resource = scope = None
    for span_resource, span_scope, span in part:
        if span_resource is not resource:
            resource, scope = span_resource, None
            resource_spans = made.resource_spans.add(
                resource=resource.resource, schema_url=resource.schema_url
            )
        if span_scope is not scope:
            scope = span_scope
            scope_spans = resource_spans.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
        scope_spans.spans.append(span)
    body: bytes = made.SerializeToString()
    return body
