"""A span that is encoded without a copy leaves exactly as its copy would."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind, Status, StatusCode, TraceFlags, TraceState

from somatrace import bind, span
from somatrace.context.span_state import state_of
from somatrace.delivery.encoding import SpanEncoder
from somatrace.delivery.outgoing_span import EncodedSpan
from somatrace.guard import Guard
from somatrace.guard.policy.model import Grant, PolicyEntry
from somatrace.listeners.record import Record
from somatrace.pipeline.billed_request import scope_of
from somatrace.pipeline.billed_usage import BilledUsage
from somatrace.pipeline.direct_encoding import DirectEncoder
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.records import record_of
from somatrace.pipeline.sdk_form import is_known
from somatrace.pipeline.token_counts import token_counts
from somatrace.testing import capture

pytestmark = pytest.mark.skipif(
    not is_known(), reason="spans of this version of the SDK are the SDK's own, which are copied"
)

GRANTS = {
    "closed": PolicyEntry("none").grant(),
    "redacted": PolicyEntry("redacted").grant(),
    "full": PolicyEntry("full").grant(),
    "listed": PolicyEntry("none", safe_keys=("prompt", "note")).grant(),
    "with terms": PolicyEntry("none", terms=("falcon",)).grant(),
    "redacted with terms": PolicyEntry("redacted", terms=("falcon",)).grant(),
}
KEYS = [
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cost.amount",
    "llm.request.type",
    "llm.usage.total_tokens",
    "gen_ai.prompt.0.content",
    "gen_ai.is_streaming",
    "server.port",
    "http.request.method",
    "langfuse.observation.type",
    "langfuse.observation.usage_details",
    "langfuse.trace.tags",
    "langfuse.trace.name",
    "somatrace.span.kind",
    "traceloop.span.kind",
    "traceloop.association.properties.user",
    "tenant_id",
    "api_key",
    "embedding.0",
    "prompt",
    "note",
    "falcon.count",
    "höhe",
    "card of ada@example.com",
]
VALUES = st.one_of(
    st.sampled_from(
        [
            "chat",
            "invoke_agent",
            "retrieval",
            "embeddings",
            "gpt-4o-mini",
            "gpt-4o-audio-preview",
            "chatcmpl-AbCd1234efGh5678",
            "stop",
            "tool",
            "GET",
            "write to ada@example.com",
            "sk-proj-" + "a1B2c3D4" * 6,
            "the falcon lands",
            "x" * 400,
            '{"input": 3}',
            "\ud800",
            "",
        ]
    ),
    st.sampled_from([0, 1, 7, -3, 812, 10**7, 4111111111111111, 2**62, 2**70, 1.0, 0.2, float("nan"), 1e300]),
    st.booleans(),
    st.text(max_size=12),
    st.lists(st.sampled_from(["stop", "length", "ada@example.com"]), max_size=3),
    st.lists(st.sampled_from([1, 2, True]), max_size=3),
)
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8)


def copier(grants: Mapping[str | None, Grant] = GRANTS) -> SpanCopier:  # type: ignore[assignment]
    guard = Guard(resolve=lambda tenant: grants.get(tenant, Grant("none")))
    return SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)


def ended(attributes: Mapping[str, Any], tenant: str | None = "closed", name: str = "work") -> LeanSpan:
    """An ended span of a tenant with attributes that a library has set."""
    with capture(), bind(tenant_id=tenant):
        opened = trace.get_tracer("opentelemetry.instrumentation.openai.v1").start_span(name)
        opened.set_attributes(attributes)
    assert type(opened) is LeanSpan
    # without `end`: the guard of this process would learn keys and values, and has limits for them
    opened._end_time = opened._start_time + 1
    opened.settle()
    return opened


def direct(encoder: DirectEncoder, opened: LeanSpan, *, is_read: bool = False) -> EncodedSpan | None:
    tokens = token_counts(opened.values, scope_of(opened))
    state = state_of(opened)
    assert state is not None
    return encoder.encode(opened, state, tokens, is_read=is_read)


def request(span: Any) -> ExportTraceServiceRequest:
    """The request with one span, its attributes in the order of their keys."""
    parsed = ExportTraceServiceRequest()
    parsed.ParseFromString(SpanEncoder().encode([span]))
    (found,) = parsed.resource_spans[0].scope_spans[0].spans
    attributes = sorted(found.attributes, key=lambda pair: pair.key)
    del found.attributes[:]
    found.attributes.extend(attributes)
    return parsed


def fields(record: Record) -> Iterator[str]:
    """The fields of a record as texts, since "not a number" is not equal to itself; mappings sorted."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        yield repr(sorted(value.items()) if isinstance(value, Mapping) else value)


@pytest.mark.parametrize("tenant", GRANTS)
@given(spans=st.lists(ATTRIBUTES, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_spans_leave_as_their_copies_would_whatever_was_remembered_of_earlier_ones(
    tenant: str, spans: list[dict[str, Any]]
) -> None:
    made_by = copier()
    encoder = DirectEncoder(made_by, SpanEncoder())

    for opened in [ended(attributes, tenant) for attributes in (*spans, *spans)]:
        encoded = direct(encoder, opened)

        if encoded is not None:
            assert request(encoded) == request(made_by.copy(opened))


@pytest.mark.parametrize("tenant", GRANTS)
@given(spans=st.lists(ATTRIBUTES, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_listeners_and_processors_of_others_get_the_same_as_from_a_copy(
    tenant: str, spans: list[dict[str, Any]]
) -> None:
    made_by = copier()
    encoder = DirectEncoder(made_by, SpanEncoder())

    for opened in [ended(attributes, tenant) for attributes in (*spans, *spans)]:
        encoded = direct(encoder, opened, is_read=True)

        if encoded is not None:
            assert encoded.copy is not None
            copy = made_by.copy(opened)
            assert request(encoded.copy) == request(copy)
            assert list(fields(record_of("ended", encoded.copy))) == list(fields(record_of("ended", copy)))


@pytest.mark.parametrize("tenant", GRANTS)
@given(attributes=ATTRIBUTES)
@settings(max_examples=30, deadline=None)
def test_a_span_that_starts_is_shown_to_listeners_as_its_copy_would_be(
    tenant: str, attributes: dict[str, Any]
) -> None:
    made_by = copier()
    encoder = DirectEncoder(made_by, SpanEncoder())
    with capture(), bind(tenant_id=tenant):
        opened = trace.get_tracer("opentelemetry.instrumentation.openai.v1").start_span("work")
    opened.set_attributes(attributes)
    state = state_of(opened)
    assert type(opened) is LeanSpan
    assert state is not None

    shown = encoder.copy(opened, state, opened.values)

    if shown is not None:
        expected = record_of("started", made_by.copy(opened))
        assert list(fields(record_of("started", shown))) == list(fields(expected))


def test_the_spans_of_a_model_call_and_of_a_step_need_no_copy() -> None:
    encoder = DirectEncoder(copier(), SpanEncoder())

    call = ended({"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 3, "gen_ai.prompt.0": "Hi"})
    with capture(), bind(tenant_id="closed"), span("step", kind="tool", rows=3):
        step = trace.get_current_span()
    assert type(step) is LeanSpan

    assert direct(encoder, call) is not None
    assert direct(encoder, step) is not None


def test_a_value_of_another_type_that_equals_a_remembered_one_keeps_its_type() -> None:
    made_by = copier()
    encoder = DirectEncoder(made_by, SpanEncoder())

    for value in (1, True, 1.0, 1, True, 1.0, 0, False, 0.0):
        opened = ended({"server.port": value})
        encoded = direct(encoder, opened)

        assert encoded is not None
        assert request(encoded) == request(made_by.copy(opened))


def test_a_sequence_that_cannot_be_looked_up_is_copied_without_a_warning(caplog) -> None:
    encoder = DirectEncoder(copier(), SpanEncoder())
    opened = ended({"gen_ai.response.finish_reasons": ["stop"]})
    assert direct(encoder, opened) is not None

    opened.values["gen_ai.response.finish_reasons"] = ({"reason": "stop"},)

    assert direct(encoder, opened) is None
    assert not caplog.records


def test_what_was_remembered_under_a_grant_does_not_hold_under_the_next_one() -> None:
    grants: dict[str | None, Grant] = {"acme": GRANTS["full"]}
    encoder = DirectEncoder(copier(grants), SpanEncoder())
    opened = ended({"prompt": "open sesame"}, "acme")

    before = direct(encoder, opened)
    del grants["acme"]
    after = direct(encoder, opened)

    assert before is not None
    assert after is not None
    assert b"open sesame" in before.content
    assert b"open sesame" not in after.content


def test_what_a_tenant_may_send_is_not_remembered_for_another_one() -> None:
    encoder = DirectEncoder(copier(), SpanEncoder())

    for tenant, leaves in (("full", True), ("closed", False), ("full", True), ("listed", True)):
        encoded = direct(encoder, ended({"prompt": "open sesame"}, tenant))

        assert encoded is not None
        assert (b"open sesame" in encoded.content) is leaves


def test_many_keys_values_and_tenants_keep_a_bounded_number_of_pairs() -> None:
    grants: dict[str | None, Grant] = {f"t{number}": PolicyEntry("full").grant() for number in range(600)}
    encoder = DirectEncoder(copier(grants), SpanEncoder())

    for number in range(1200):
        values = {f"k{number}.{key}": f"v{number}" for key in range(20)}
        direct(encoder, ended({**values, "gen_ai.request.model": f"m{number}"}, f"t{number % 600}"))

    kept = [encoder._pairs._closed, *(keys for _, keys in encoder._pairs._filters.values())]
    assert len(kept) <= 257
    assert sum(1 + len(key.known) for keys in kept for key in keys.values()) <= 8192 + 21


@pytest.mark.parametrize(
    "change",
    [
        lambda opened: opened.add_event("said"),
        lambda opened: opened.add_link(trace.SpanContext(1, 2, False)),
        lambda opened: opened.set_status(Status(StatusCode.ERROR, "no")),
        lambda opened: opened.record_exception(ValueError("no")),
        lambda opened: opened.set_attribute("langfuse.trace.tags", ["a"]),
    ],
    ids=["an event", "a link", "a status", "an exception", "trace tags"],
)
def test_a_span_with_more_than_attributes_is_copied(change: Any) -> None:
    with capture(), bind(tenant_id="closed"):
        opened = trace.get_tracer("app").start_span("work", kind=SpanKind.CLIENT)
        change(opened)
        opened.end()

    assert direct(DirectEncoder(copier(), SpanEncoder()), opened) is None  # type: ignore[arg-type]


def test_a_span_below_one_with_foreign_entries_in_its_tracestate_is_copied() -> None:
    above = trace.SpanContext(1, 2, True, TraceFlags(1), TraceState([("vendor", "secret")]))
    with capture():
        context = trace.set_span_in_context(trace.NonRecordingSpan(above))
        opened = trace.get_tracer("app").start_span("work", context)
        opened.end()

    assert direct(DirectEncoder(copier(), SpanEncoder()), opened) is None  # type: ignore[arg-type]


def test_usage_that_is_counted_on_another_span_is_copied() -> None:
    usage = BilledUsage()
    with capture(), bind(tenant_id="closed"):
        above = trace.get_tracer("opentelemetry.instrumentation.langchain").start_span("chat")
        with trace.use_span(above):
            below = trace.get_tracer("opentelemetry.instrumentation.openai.v1").start_span("chat")
        for opened in (below, above):
            opened.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3})
            opened.end()
    encoder = DirectEncoder(copier(), SpanEncoder())

    encoded = []
    for opened in (below, above):
        state = state_of(opened)
        assert state is not None
        encoded.append(encoder.encode(opened, state, usage.settle(opened, state)))  # type: ignore[arg-type]

    assert [found is None for found in encoded] == [False, True]
