"""What `SpanEncoder` writes is what OpenTelemetry's own encoder writes for the same spans."""

from __future__ import annotations

import logging
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from somatrace.delivery.encoding import SpanEncoder, encode
from somatrace.delivery.outgoing_span import OutgoingSpan

RESOURCES = (Resource({}), Resource({"service.name": "svc", "ports": (1, 2)}, "https://example.com/1"))
SCOPES = (
    None,
    InstrumentationScope("app"),
    InstrumentationScope("lib", "1.2", "https://example.com/2", {"team": "search", "beta": True}),
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.text("é€😀\0", max_size=70)
numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.floats()
scalars = texts | st.booleans() | numbers | st.binary(max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(["a", "b", "c"]) | texts
attributes = st.dictionaries(keys, values | st.sampled_from(["x", "y", True, 1, 1.0, 0, "", ()]), max_size=30)
entries = st.lists(
    st.tuples(st.text(string.ascii_lowercase, min_size=1, max_size=5), st.sampled_from(["1", "on"])),
    max_size=3,
    unique_by=lambda entry: entry[0],
)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    entries.map(TraceState),
)
times = st.none() | st.integers(0, 2**63)
statuses = st.sampled_from([Status(StatusCode.UNSET), Status(StatusCode.OK)]) | texts.map(
    lambda text: Status(StatusCode.ERROR, text)
)


def link_without_state(context: SpanContext, given: dict[str, Any]) -> Link:
    """The encoder of OpenTelemetry leaves out the tracestate of links."""
    return Link(SpanContext(context.trace_id, context.span_id, context.is_remote), given)


spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.sampled_from(RESOURCES),
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, times.map(lambda time: time or 0)), max_size=2),
    links=st.lists(st.builds(link_without_state, contexts, attributes), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=st.sampled_from(SCOPES),
)


def parsed(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(body)


def like_ours(spans: list[ReadableSpan]) -> bytes:
    """The same spans by OpenTelemetry's encoder. Serialized, because NaN is not equal to itself."""
    return bytes(encode_spans(spans).SerializeToString(deterministic=True))


@given(st.lists(st.lists(spans, max_size=6), max_size=3))
def test_batches_are_those_of_opentelemetrys_encoder(batches):
    encoder = SpanEncoder()  # one for all batches: what it remembers must not change the next
    for batch in batches:
        body = encoder.encode(batch)
        assert parsed(body).SerializeToString(deterministic=True) == like_ours(batch)


def outgoing(span: ReadableSpan, tagged: dict[str, Any]) -> OutgoingSpan:
    """The span as the guard makes it, with its tags apart."""
    found = object.__new__(OutgoingSpan)
    found.__dict__.update({key: value for key, value in vars(span).items() if key != "_attributes"})
    found.own = {key: value for key, value in (span.attributes or {}).items() if key not in tagged}
    found.tagged = tagged
    found.dropped = (1, 2, 3)
    return found


@given(st.lists(st.tuples(spans, st.sampled_from([0, 1, 2])), max_size=6), st.lists(attributes, min_size=3))
def test_attributes_that_spans_share_are_those_of_each_span(batch, shared):
    apart = [outgoing(span, shared[number]) for span, number in batch]
    body = SpanEncoder().encode(apart)
    as_read = SpanEncoder().encode(apart)
    whole = like_ours([outgoing(span, shared[number]) for span, number in batch])
    assert parsed(body).SerializeToString(deterministic=True) == whole
    assert as_read == body


def test_spans_of_the_sdk_are_encoded_like_opentelemetrys_encoder_does():
    tracer = TracerProvider(resource=RESOURCES[1]).get_tracer("lib", "1.2", "https://example.com/2")
    with (
        tracer.start_as_current_span("outer", kind=SpanKind.SERVER) as outer,
        tracer.start_as_current_span("inner", attributes={"x": 1}) as inner,
    ):
        inner.add_event("happened", {"list": [1.5, 2.5]})
        inner.add_link(outer.get_span_context(), {"why": "follows"})
        inner.record_exception(ValueError("wrong"))
        inner.set_status(StatusCode.ERROR, "wrong")

    assert parsed(encode([inner, outer])) == encode_spans([inner, outer])


def span(given: dict[str, Any] | None = None, **more: Any) -> ReadableSpan:
    context = SpanContext(1, 2, is_remote=False)
    return ReadableSpan("work", context, resource=RESOURCES[0], attributes=given or {}, **more)


def only_span(body: bytes) -> Any:
    (resource,) = parsed(body).resource_spans
    (scope,) = resource.scope_spans
    (found,) = scope.spans
    return found


@pytest.mark.parametrize("equal", [(True, 1, 1.0), (1.0, True, 1), (0, False, 0.0)])
def test_equal_values_of_different_types_keep_their_types(equal):
    encoder = SpanEncoder()
    kinds = [
        only_span(encoder.encode([span({"key": value})])).attributes[0].value.WhichOneof("value")
        for value in equal
    ]
    assert kinds == [{bool: "bool_value", int: "int_value", float: "double_value"}[type(v)] for v in equal]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, object(), {1, 2}, (1, object()), {"deep": 2**64}])
def test_a_value_that_otlp_cannot_hold_costs_only_itself_and_is_counted(value, caplog):
    with caplog.at_level(logging.DEBUG):
        found = only_span(encode([span({"first": 1, "wrong": value, "last": "kept"})]))

    assert [pair.key for pair in found.attributes] == ["first", "last"]
    assert found.dropped_attributes_count == 1
    assert caplog.records == []


def test_half_a_surrogate_pair_becomes_a_question_mark():
    found = only_span(encode([span({"k\ud800": "a\udfffb"}, status=Status(StatusCode.ERROR, "\ud800"))]))

    assert [(pair.key, pair.value.string_value) for pair in found.attributes] == [("k?", "a?b")]
    assert found.status.message == "?"


def test_links_keep_their_tracestate():
    link = Link(SpanContext(3, 4, is_remote=True, trace_state=TraceState([("vendor", "x")])))
    (found,) = only_span(encode([span(links=[link])])).links

    assert found.trace_state == "vendor=x"


def test_keys_and_values_that_never_recur_are_not_remembered_without_limit():
    encoder = SpanEncoder()
    for number in range(30_000):
        encoder.encode([span({f"key-{number}": f"value-{number}", "id": f"id-{number}", "model": "small"})])

    known = encoder._attributes._keys
    assert len(known) + sum(len(key.pairs) for key in known.values()) <= 8192
    assert len(known["id"].pairs) <= 128
    assert only_span(encoder.encode([span({"model": "small"})])).attributes[0].value.string_value == "small"


def test_long_texts_are_not_remembered():
    encoder = SpanEncoder()
    text = "long " * 1000
    encoder.encode([span({"text": text})])

    assert encoder._attributes._keys["text"].pairs == {}
    assert only_span(encoder.encode([span({"text": text})])).attributes[0].value.string_value == text
