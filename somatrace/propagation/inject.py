"""`outgoing`: headers that propagate tags and trace context."""

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
    """Headers for a request to another service of yours: trace context, tags, correlation and request id.

    Instrumented HTTP clients send them automatically, and only to internal hosts and those in
    SOMATRACE_PROPAGATE_TO; here the program decides where they go. Call it inside the span that is to be
    the parent: with SOMATRACE_TRUST_KEYS the tags are signed for that trace. The headers contain no program
    data except tags, and no value contains a line break. OTEL_PROPAGATORS=none omits the trace context.
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
    """The headers that instrumented clients send to `host`: `outgoing` and the baggage, or none."""
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
    """The current tags; if they name no tenant, combined with those of the current span."""
    tags = current.get()
    state = state_of(trace.get_current_span())
    return tags if state is None else tags.within(state.effective)
