"""`outgoing`: the headers that take tags and trace context along."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from somatrace import semconv
from somatrace.context.span_state import state_of
from somatrace.context.tags import Tags, current
from somatrace.propagation.signing import sign
from somatrace.propagation.tag_header import encode, join
from somatrace.propagation.trust import ignore, may_carry, rules

_TRACE: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()


def outgoing() -> dict[str, str]:
    """Headers for a request to a service of one's own: trace context, tags, correlation and request id.

    The instrumented HTTP clients send them by themselves, and only to hosts in SOMATRACE_PROPAGATE_TO;
    here the program decides to whom they go. Call it inside the span that is to be the parent: with
    SOMATRACE_TRUST_KEYS the tags are signed for that trace. No program text but tags is in them, and
    no value can hold a line break. OTEL_PROPAGATORS=none leaves the trace context out.
    """
    headers: dict[str, str] = {}
    if rules().trace:
        _TRACE.inject(headers)
    tags = effective()
    payload, left_out = encode(tags)
    if left_out:
        ignore(f"{semconv.HEADER_TAGS}: no room for a tag")
    if payload:
        headers[semconv.HEADER_TAGS] = _signed(payload, headers.get(semconv.HEADER_TRACEPARENT, ""))
    for header, name in (
        (semconv.HEADER_CORRELATION, semconv.CORRELATION),
        (semconv.HEADER_REQUEST, semconv.REQUEST),
    ):
        value = str(tags.get(name, ""))
        if value and value.isascii() and value.isprintable():
            headers[header] = value
    return headers


def headers_for(host: str, port: int | None = None) -> dict[str, str]:
    """What the instrumented clients send to `host`: `outgoing` and the baggage, or nothing."""
    if not may_carry(host, port):
        return {}
    headers = outgoing()
    if rules().baggage:
        _BAGGAGE.inject(headers)
    return headers


def _signed(payload: str, traceparent: str) -> str:
    known = rules().keys
    if not known or not traceparent:
        return join(payload, None)
    return join(payload, sign(known[0], payload, traceparent, time.time()))


def effective() -> Tags:
    """The tags bound here; where no tenant is, those of the span around."""
    tags = current.get()
    state = state_of(trace.get_current_span())
    if state is None or tags.tenant is not None:
        return tags
    around = state.effective
    return Tags({**around.bound, **tags.bound}, {**around.derived, **tags.derived})
