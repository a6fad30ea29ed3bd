"""`incoming`: what a request brings along, as far as its sender is trusted."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import Token
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from somatrace import semconv
from somatrace.context.context_decorator import ContextDecorator, T, made_inside
from somatrace.context.span_state import state_of
from somatrace.context.tags import EMPTY, Scalar, Tags, current
from somatrace.propagation import tag_header
from somatrace.propagation.headers import RequestHeaders
from somatrace.propagation.signing import fault
from somatrace.propagation.trust import TrustRules, ignore, rules
from somatrace.propagation.trusted_networks import is_inside, networks

_TRACE: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()
_RATIO_BITS: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Caller:
    """Who called, as `with incoming(...) as caller` says.

    `trusted` is "peer", "signature" or "". `claimed` is the span an outsider names where a new trace
    was started instead of joining (SOMATRACE_EDGE): put it on a span as a link. `attributes` belong
    on the span that serves the request. `correlation_id` is the one in force now.
    """

    trusted: str = ""
    claimed: SpanContext | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    correlation_id: str = ""
    request_id: str = ""


class incoming(ContextDecorator):  # noqa: N801 - reads as the word it is: `with incoming(headers):`
    """Work for a caller: its trace goes on here, and its tags, if it is trusted, are bound.

    `headers` is a mapping, a multi-mapping or pairs, of text or bytes. `peer` is the address at the
    other end of the connection, or a pair of address and port. `trust` names networks (CIDR) to be
    trusted in addition to SOMATRACE_TRUST. By default nobody is: an outsider's tags and baggage are
    ignored, its correlation id is kept aside, its sampling flag decides nothing. Never raises for what
    a request holds; `carry.ignored()` counts. Requests to Starlette and FastAPI need no `incoming`.
    """

    def __init__(self, headers: object, *, peer: object = None, trust: Iterable[str] = ()) -> None:
        super().__init__()
        self._given = (headers, peer, (trust,) if isinstance(trust, str) else tuple(trust))

    def __enter__(self) -> Caller:
        return self._enter()  # type: ignore[return-value]

    async def __aenter__(self) -> Caller:
        return self._enter()  # type: ignore[return-value]

    def _open(self) -> ExtractedScope:
        headers, peer, trust = self._given
        return ExtractedScope(headers, peer, trust)


class ExtractedScope:
    """The scope of one `incoming`. With `join=False` it binds tags alone and leaves the trace to others,
    who read `trace_headers` in place of what the caller sent."""

    def __init__(
        self, headers: object, peer: object, trust: tuple[str, ...] = (), *, join: bool = True
    ) -> None:
        read, now = RequestHeaders(headers), rules()
        believed = "" if now.edge else _why_trusted(read, peer, trust, now)
        claimed = _claimed(read, now)
        parent = None if claimed is None or now.edge else _parent(claimed, believed, now)
        baggage = read.found if believed == "peer" and now.baggage else {}
        self._context = otel_context.get_current()
        if join:
            self._context = _BAGGAGE.extract(baggage, context=self._context)
            if claimed is not None:
                self._context = trace.set_span_in_context(parent or INVALID_SPAN, self._context)
        self.trace_headers = {"baggage": baggage["baggage"]} if "baggage" in baggage else {}
        if parent is not None:
            _TRACE.inject(self.trace_headers, context=trace.set_span_in_context(parent, Context()))
        self._tags, self.caller = _bound(read, believed, claimed if parent is None else None)
        self._tokens: tuple[Token[Tags], Any] | None = None

    def attach(self) -> Caller:
        around = state_of(trace.get_current_span())
        if around is not None and self._tags.tenant is not None:
            around.root.labelled(self._tags)  # the request's span may be another instrumentation's
        self._tokens = (current.set(self._tags), otel_context.attach(self._context))
        return self.caller

    def detach(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        try:
            current.reset(tokens[0])
        except ValueError:
            return  # left in another context than it was entered in, where nothing of it is set
        otel_context.detach(tokens[1])

    def create_inside(self, make: Callable[[], T]) -> T:
        return made_inside(self, make)

    def is_current(self) -> bool:
        return current.get() is self._tags

    def end(self, error: BaseException | None) -> None:
        """Nothing remains open."""


def _why_trusted(read: RequestHeaders, peer: object, trust: tuple[str, ...], now: TrustRules) -> str:
    """Why the caller is trusted: signature, peer, or an empty word.

    A forwarding header makes the peer address worthless: servers write X-Forwarded-For into it.
    """
    header = read[semconv.HEADER_TAGS]
    if header and now.keys:
        try:
            payload, signature = tag_header.split(header)
        except ValueError:
            signature = None
        if signature is not None:
            wrong = fault(now.keys, signature, payload, read[semconv.HEADER_TRACEPARENT], time.time())
            if not wrong:
                return "signature"
            ignore(f"{semconv.HEADER_TAGS}: {wrong}")
    inside = not read.forwarded and is_inside(peer, (*now.trusted, *networks(trust)))
    return "peer" if inside else ""


def _claimed(read: RequestHeaders, now: TrustRules) -> SpanContext | None:
    """The span the caller names as the parent."""
    if not now.trace or not read[semconv.HEADER_TRACEPARENT]:
        return None
    found = trace.get_current_span(_TRACE.extract(read.found, context=Context())).get_span_context()
    if not found.is_valid:
        ignore(f"{semconv.HEADER_TRACEPARENT}: malformed")
        return None
    return found


def _parent(claimed: SpanContext, believed: str, now: TrustRules) -> Span:
    """The parent to join. For an outsider's, the sampling flag is the one our own sampler would give: on
    its trace id, as TraceIdRatioBased does, so that services that do not trust each other still agree."""
    if believed:
        return NonRecordingSpan(claimed)
    sampled = (claimed.trace_id & _RATIO_BITS) < round(now.rate * (_RATIO_BITS + 1))
    flags = claimed.trace_flags | TraceFlags.SAMPLED if sampled else claimed.trace_flags & ~TraceFlags.SAMPLED
    return NonRecordingSpan(
        SpanContext(
            claimed.trace_id,
            claimed.span_id,
            is_remote=True,
            trace_flags=TraceFlags(flags),
            trace_state=claimed.trace_state,
        )
    )


def _bound(read: RequestHeaders, believed: str, claimed: SpanContext | None) -> tuple[Tags, Caller]:
    """The tags to work under: those around, the trusted caller's, and always a correlation id.

    A signature speaks for the signed tags alone, so the plain id headers count only from a trusted peer.
    """
    sent = _sent_tags(read, believed)
    tags = current.get()
    extra: dict[str, Scalar] = dict(sent.bound)
    attributes: dict[str, Scalar] = {}
    correlation, request = read[semconv.HEADER_CORRELATION], read[semconv.HEADER_REQUEST]
    if believed == "peer":
        if correlation:
            extra.setdefault(semconv.CORRELATION, correlation)
        if request:
            extra.setdefault(semconv.REQUEST, request)
    elif correlation and correlation != sent.get(semconv.CORRELATION):
        attributes[semconv.CLIENT_CORRELATION] = correlation
    if semconv.CORRELATION not in extra and semconv.CORRELATION not in tags:
        extra[semconv.CORRELATION] = os.urandom(16).hex()
    found = Tags({**tags.bound, **extra}, {**tags.derived, **sent.derived})
    return found, Caller(
        trusted=believed,
        claimed=claimed,
        attributes=attributes,
        correlation_id=_for_header(found.get(semconv.CORRELATION)),
        request_id=_for_header(found.get(semconv.REQUEST)),
    )


def _sent_tags(read: RequestHeaders, believed: str) -> Tags:
    header = read[semconv.HEADER_TAGS]
    if not header:
        return EMPTY
    if not believed:
        ignore(f"{semconv.HEADER_TAGS}: caller not trusted")
        return EMPTY
    try:
        return tag_header.decode(tag_header.split(header)[0])
    except ValueError:
        ignore(f"{semconv.HEADER_TAGS}: malformed")
        return EMPTY


def _for_header(value: object) -> str:
    word = "" if value is None else str(value)
    return word if re.fullmatch(r"[\x20-\x7e]{1,200}", word) else ""
