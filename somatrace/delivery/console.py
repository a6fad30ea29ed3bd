"""`OTEL_TRACES_EXPORTER=console`: one JSON line per span on standard output."""

from __future__ import annotations

import json
import sys

from somatrace.delivery.send_result import ACCEPTED, SendResult


class ConsoleTransport:
    """Writes guarded spans in OTLP/JSON form, each with its scope and resource."""

    def send(self, body: bytes, timeout: float) -> SendResult:  # noqa: ARG002 - standard output has no timeout
        from google.protobuf.json_format import MessageToDict
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        lines = []
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = MessageToDict(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    line = {
                        "scope": scope_spans.scope.name,
                        "resource": resource,
                        "span": MessageToDict(span),
                    }
                    line["span"] |= {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
                    if span.parent_span_id:
                        line["span"]["parentSpanId"] = span.parent_span_id.hex()
                    lines.append(json.dumps(line, ensure_ascii=True))
        try:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:  # a closed pipe or file
            return SendResult("retry", f"standard output: {type(error).__name__}")
        return ACCEPTED

    def interrupt(self) -> None:
        """Do nothing: a write to standard output is not interrupted."""

    def close(self) -> None:
        """Do nothing: standard output belongs to the program."""
