"""`incoming`: apply the tags and trace context of a request, as far as its caller is trusted."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from somatrace import semconv
from somatrace.context.context_decorator import ContextDecorator, T, create_attached
from somatrace.context.context_tokens import ContextTokens
from somatrace.context.span_state import state_of
from somatrace.context.tags import EMPTY, Scalar, Tags, current
from somatrace.propagation import tag_header
from somatrace.propagation.claimed_ids import remember
from somatrace.propagation.headers import RequestHeaders
from somatrace.propagation.signing import fault
from somatrace.propagation.trust import TrustRules, ignore, rules
from somatrace.propagation.trusted_networks import is_inside, networks
from somatrace.propagation.untrusted_parent import untrusted_parent
from somatrace.runtime.clock import clock

#: The headers that a signature covers, and the one that holds it.
SIGNED: Final = (semconv.HEADER_TRACEPARENT, semconv.HEADER_TAGS)
_TRACE: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()


@dataclass(frozen=True)
class Caller:
    """The caller, as returned by `with incoming(...) as caller`.

    `trusted` is "peer", "signature" or "". `claimed` is the caller's span if a new trace was started
    instead of joining its trace (SOMATRACE_EDGE): add it to a span as a link. Add `attributes` to the span
    that serves the request. `correlation_id` is the current one.
    """

    trusted: str = ""
    claimed: SpanContext | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    correlation_id: str = ""
    request_id: str = ""


class incoming(ContextDecorator):  # noqa: N801 - used like a function: `with incoming(headers):`
    """Handle a request: join the caller's trace and, if the caller is trusted, bind its tags.

    `headers` is a mapping, a multi-mapping or pairs, of text or bytes. `peer` is the address at the
    other end of the connection, or a pair of address and port. `trust` lists networks (CIDR) to trust in
    addition to SOMATRACE_TRUST. By default no caller is trusted: tags and baggage of an untrusted caller
    are ignored, its correlation id is kept separately, and its sampling flag has no effect. Never raises
    for any request; `propagation.ignored()` counts what was ignored. Starlette and FastAPI apps do not
    need it.
    """

    def __init__(self, headers: object, *, peer: object = None, trust: Iterable[str] = ()) -> None:
        super().__init__()
        self._given = (headers, peer, (trust,) if isinstance(trust, str) else tuple(trust))

    def __enter__(self) -> Caller:
        return self._enter(self._open())  # type: ignore[return-value]

    async def __aenter__(self) -> Caller:
        return self._enter(self._open())  # type: ignore[return-value]

    def _open(self) -> ExtractedScope:
        headers, peer, trust = self._given
        return ExtractedScope(headers, peer, trust)


class ExtractedScope:
    """The scope of one `incoming`. With `join=False` it only binds tags; another instrumentation then joins
    the trace, reading `trace_headers` in place of the caller's headers."""

    def __init__(
        self, headers: object, peer: object, trust: tuple[str, ...] = (), *, join: bool = True
    ) -> None:
        received, current_rules = RequestHeaders(headers), rules()
        edge = current_rules.edge
        claimed = _claimed(received, current_rules)
        joined = claimed if join or claimed is None else _joined_elsewhere(claimed)
        trusted = "" if edge else _trusted_by(received, peer, trust, current_rules, joined)
        parent = None if claimed is None or edge else _parent(claimed, trusted, current_rules, trust)
        baggage = received.values if trusted == "peer" and current_rules.baggage else {}
        self._context = otel_context.get_current()
        if join:
            self._context = _BAGGAGE.extract(baggage, context=self._context)
            if claimed is not None:
                self._context = trace.set_span_in_context(parent or INVALID_SPAN, self._context)
        self._context = remember(frozenset() if trusted == "peer" else frozenset(received.ids), self._context)
        self.trace_headers = {"baggage": baggage["baggage"]} if "baggage" in baggage else {}
        if parent is not None:
            _TRACE.inject(self.trace_headers, context=trace.set_span_in_context(parent, Context()))
        self._tags, self.caller = _bound(received, trusted, claimed if parent is None else None)
        self._tokens: ContextTokens | None = None

    def attach(self) -> Caller:
        state = state_of(trace.get_current_span())
        if state is not None:
            state.root.set_label(self._tags)  # the request's span may belong to another instrumentation
        self._tokens = ContextTokens(self._tags, self._context)
        return self.caller

    def detach(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.detach()

    def create_inside(self, make: Callable[[], T]) -> T:
        return create_attached(self, make)

    def end(self, error: BaseException | None) -> None:
        """Do nothing: no span was opened."""


def accepted(extracted: Context, around: Context, headers: object, peer: object) -> Context:
    """The part that applies of the context that another instrumentation has extracted from a request.

    `around` is the context without the request. A peer that is trusted by its address keeps everything; any
    other one gets the parent that `incoming` would join, and neither baggage nor other values.
    """
    received, current_rules = RequestHeaders(headers), rules()
    claimed = trace.get_current_span(extracted).get_span_context()
    trusted = "" if current_rules.edge else _trusted_by(received, peer, (), current_rules, claimed)
    if trusted == "peer":
        return extracted
    around = remember(frozenset(received.ids), around)
    known = trace.get_current_span(around).get_span_context()
    if current_rules.edge or not claimed.is_valid or claimed == known:
        return around
    return trace.set_span_in_context(_parent(claimed, trusted, current_rules), around)


def _trusted_by(
    received: RequestHeaders,
    peer: object,
    trust: tuple[str, ...],
    current: TrustRules,
    joined: SpanContext | None,
) -> str:
    """The reason to trust the caller: "signature", "peer", or "".

    A forwarding header makes the peer address unreliable: servers overwrite it with X-Forwarded-For.
    `joined` is the span that the request continues. A signature is for that span alone: where the trace is
    not joined, a copy of the headers would be trusted in any new trace.
    """
    header = received[semconv.HEADER_TAGS]
    if header and current.keys:
        try:
            payload, signature = tag_header.split(header)
        except ValueError:
            signature = None
        if signature is not None:
            traceparent = received[semconv.HEADER_TRACEPARENT]
            invalid = fault(current.keys, signature, payload, traceparent, clock.time())
            if not invalid and not _is_named(joined, traceparent):
                invalid = "signed for a trace that is not joined"
            if not invalid:
                return "signature"
            ignore(f"{semconv.HEADER_TAGS}: {invalid}")
    inside = not received.forwarded and is_inside(peer, (*current.trusted, *networks(trust)))
    return "peer" if inside else ""


def _is_named(span: SpanContext | None, traceparent: str) -> bool:
    return span is not None and f"-{span.trace_id:032x}-{span.span_id:016x}-" in traceparent


def _joined_elsewhere(claimed: SpanContext) -> SpanContext | None:
    """The claimed span, if the instrumentation that joins the trace in our place continues its trace."""
    current_span = trace.get_current_span().get_span_context()
    if current_span.is_valid:  # its span is around the app
        return claimed if current_span.trace_id == claimed.trace_id else None
    propagate = sys.modules.get("opentelemetry.propagate")
    reads = propagate is not None and semconv.HEADER_TRACEPARENT in propagate.get_global_textmap().fields
    return claimed if reads else None


def _claimed(received: RequestHeaders, current: TrustRules) -> SpanContext | None:
    """The parent span in the caller's headers."""
    if not current.trace or not received[semconv.HEADER_TRACEPARENT]:
        return None
    claimed = trace.get_current_span(_TRACE.extract(received.values, context=Context())).get_span_context()
    if not claimed.is_valid:
        ignore(f"{semconv.HEADER_TRACEPARENT}: malformed")
        return None
    return claimed


def _parent(claimed: SpanContext, trusted: str, current: TrustRules, trust: tuple[str, ...] = ()) -> Span:
    """The parent to join."""
    if trusted:
        return NonRecordingSpan(claimed)
    return untrusted_parent(claimed, current, trusts_others=bool(current.keys or current.trusted or trust))


def _bound(received: RequestHeaders, trusted: str, claimed: SpanContext | None) -> tuple[Tags, Caller]:
    """The tags to bind: the current ones, those of a trusted caller, and always a correlation id.

    A signature covers only the signed tags, so the plain id headers count only from a trusted peer.
    """
    sent = _sent_tags(received, trusted)
    tags = current.get()
    extra: dict[str, Scalar] = dict(sent.bound)
    attributes: dict[str, Scalar] = {}
    correlation, request = received[semconv.HEADER_CORRELATION], received[semconv.HEADER_REQUEST]
    if trusted == "peer":
        if correlation:
            extra.setdefault(semconv.CORRELATION, correlation)
        if request:
            extra.setdefault(semconv.REQUEST, request)
    elif correlation and correlation != sent.get(semconv.CORRELATION):
        attributes[semconv.CLIENT_CORRELATION] = correlation
    bound = Tags(extra, sent.derived, sent.unbound).over(tags)
    if semconv.CORRELATION not in bound:
        bound = bound.binding(**{semconv.CORRELATION: os.urandom(16).hex()})
    return bound, Caller(
        trusted=trusted,
        claimed=claimed,
        attributes=attributes,
        correlation_id=_for_header(bound.get(semconv.CORRELATION)),
        request_id=_for_header(bound.get(semconv.REQUEST)),
    )


def _sent_tags(received: RequestHeaders, trusted: str) -> Tags:
    header = received[semconv.HEADER_TAGS]
    if not header:
        return EMPTY
    if not trusted:
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
