"""Encode spans with OpenTelemetry's OTLP encoder, and split encoded requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """Return one serialized ExportTraceServiceRequest. The encoder and protobuf are imported on first use."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return bytes(encode_spans(spans).SerializeToString())


def load() -> None:
    """Import what the first `encode` else imports."""
    import opentelemetry.exporter.otlp.proto.common.trace_encoder  # noqa: F401


def halves(body: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]] | None:
    """Split a request into two, each with its span count; None if it contains fewer than two spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    flat = [(r, s, span) for r in request.resource_spans for s in r.scope_spans for span in s.spans]
    if len(flat) < 2:
        return None
    middle = len(flat) // 2
    requests = []
    for part in (flat[:middle], flat[middle:]):
        half = ExportTraceServiceRequest()
        resource = scope = None
        for span_resource, span_scope, span in part:
            if span_resource is not resource:
                resource, scope = span_resource, None
                resource_spans = half.resource_spans.add(
                    resource=resource.resource, schema_url=resource.schema_url
                )
            if span_scope is not scope:
                scope = span_scope
                scope_spans = resource_spans.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
            scope_spans.spans.append(span)
        requests.append((half.SerializeToString(), len(part)))
    return requests[0], requests[1]
