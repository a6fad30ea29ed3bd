"""Split an encoded OTLP request, to isolate a span that a target rejects."""

from __future__ import annotations


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
