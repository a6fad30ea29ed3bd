"""The limits of a span (OTEL_SPAN_*_LIMIT, …) and the dropped counts that arrive."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

LIMITS = {
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "5",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "2",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "1",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7",
}
PROGRAM = """
    from opentelemetry import trace
    from somatrace import bind, event, flush, init_tracing, span
    init_tracing("limited")
    links = [trace.Link(trace.SpanContext(number, number, False)) for number in (1, 2, 3)]
    with bind(tenant_id="a-tenant-with-a-long-name"):
        with span("work", kind="agent") as work:
            for number in range(10):
                work.set_attribute(f"count.{number}", number)
                event("step", number=number)
        trace.get_tracer("theirs").start_span("linked", links=links).end()
        trace.get_tracer("theirs").start_span(
            "long", attributes={"gen_ai.request.model": "0123456789"}
        ).end()
    assert flush(60)
    """


def arrived() -> dict[str, Span]:
    with otlp_server() as server:
        run_program(PROGRAM, otlp_env(server.url, **LIMITS))
        server.wait_for(3)
        request = ExportTraceServiceRequest.FromString(server.bytes)
    return {
        span.name: span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_dropped_items_are_counted_on_the_span_and_kind_and_tags_are_kept() -> None:
    spans = arrived()
    work = {pair.key: pair.value.string_value for pair in spans["work"].attributes}
    assert [key for key in work if key.startswith("count.")] == [f"count.{number}" for number in range(5, 10)]
    assert work["tenant_id"] == "a-tenant-with-a-long-name"
    assert (work["somatrace.kind"], work["langfuse.observation.type"]) == ("agent", "agent")
    assert (len(spans["work"].events), spans["work"].dropped_events_count) == (2, 8)
    assert spans["work"].dropped_attributes_count == 10
    assert (len(spans["linked"].links), spans["linked"].dropped_links_count) == (1, 2)
    model = next(pair for pair in spans["long"].attributes if pair.key == "gen_ai.request.model")
    assert model.value.string_value == "0123456"
