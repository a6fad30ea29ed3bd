"""`outgoing`: headers that propagate tags and trace context."""

from __future__ import annotations

import sys
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
from somatrace.runtime.clock import clock

_TRACE: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()
_W3C: Final = _TRACE.fields | _BAGGAGE.fields


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
    """The headers that instrumented clients send to `host`: `outgoing`, the baggage, and what propagators of
    other formats add; or none."""
    if not may_carry(host, port):
        return {}
    headers = _other_formats()
    headers.update(outgoing())
    if rules().baggage:
        _BAGGAGE.inject(headers)
    return headers


def _other_formats() -> dict[str, str]:
    """The headers of the global propagator beside those of W3C: of OTEL_PROPAGATORS, or the program's own."""
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is None:
        return {}
    propagator = propagate.get_global_textmap()
    if set(propagator.fields) <= _W3C:
        return {}
    headers: dict[str, str] = {}
    propagator.inject(headers)
    return {name: value for name, value in headers.items() if name.lower() not in _W3C}


def trace_context(*, baggage: bool) -> dict[str, str]:
    """The W3C headers of the current context, without tags: for bodies that have a place for them."""
    headers: dict[str, str] = {}
    if rules().trace:
        _TRACE.inject(headers)
    if baggage and rules().baggage:
        _BAGGAGE.inject(headers)
    return headers


def _signed(payload: str, traceparent: str) -> str:
    known = rules().keys
    if not known or not traceparent:
        return join(payload, None)
    return join(payload, sign(known[0], payload, traceparent, clock.time()))


def effective() -> Tags:
    """The current tags; if they name no tenant, combined with those of the current span.

    Without a workflow, they get the one that has named the trace.
    """
    tags = current.get()
    state = state_of(trace.get_current_span())
    if state is None:
        return tags
    found = tags.within(state.effective)
    named = state.trace_workflow
    # work outside the workflow's block belongs to its request, in other services too
    if named is None or semconv.WORKFLOW in found:
        return found
    return found.deriving(**named.only(semconv.WORKFLOW))
