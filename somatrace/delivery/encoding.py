"""Spans to OTLP bytes through OpenTelemetry's own encoder, and such bytes in smaller portions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """One serialised ExportTraceServiceRequest. The encoder and protobuf are imported on first use."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return bytes(encode_spans(spans).SerializeToString())


def load() -> None:
    """Import what the first `encode` else imports."""
    import opentelemetry.exporter.otlp.proto.common.trace_encoder  # noqa: F401


def halves(body: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]] | None:
    """The request as two requests with their span counts, or None when it holds fewer than two spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    flat = [(r, s, span) for r in request.resource_spans for s in r.scope_spans for span in s.spans]
    if len(flat) < 2:
        return None
    middle = len(flat) // 2
    portions = []
    for part in (flat[:middle], flat[middle:]):
        smaller = ExportTraceServiceRequest()
        resource = scope = None
        for its_resource, its_scope, span in part:
            if its_resource is not resource:
                resource, scope = its_resource, None
                resource_spans = smaller.resource_spans.add(
                    resource=resource.resource, schema_url=resource.schema_url
                )
            if its_scope is not scope:
                scope = its_scope
                scope_spans = resource_spans.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
            scope_spans.spans.append(span)
        portions.append((smaller.SerializeToString(), len(part)))
    return portions[0], portions[1]
