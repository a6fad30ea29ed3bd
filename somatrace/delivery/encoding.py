"""Encode spans as OTLP requests without building protobuf messages, which takes several times as long.

The numbers of fields are those of opentelemetry/proto/trace/v1/trace.proto; `tests/delivery/test_encoding.py`
compares the result with that of OpenTelemetry's own encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
from opentelemetry.trace.status import Status, StatusCode

from somatrace.delivery.attribute_encoding import AttributeEncoder
from somatrace.delivery.outgoing_span import EncodedSpan, OutgoingSpan
from somatrace.delivery.protobuf_wire import delimited, fixed64, utf8, varint

#: Encoded resources and scopes that are remembered.
_MAX_ORIGINS: Final = 1024

_TRACE_ID, _SPAN_ID, _TRACE_STATE, _PARENT, _NAME = b"\x0a\x10", b"\x12\x08", b"\x1a", b"\x22\x08", b"\x2a"
_START, _END, _ATTRIBUTES, _EVENT, _LINK, _STATUS = b"\x39", b"\x41", b"\x4a", b"\x5a", b"\x6a", b"\x7a"
_DROPPED_ATTRIBUTES, _DROPPED_EVENTS, _DROPPED_LINKS = b"\x50", b"\x60", b"\x70"
#: SPAN_KIND_INTERNAL is 1: the numbers of OTLP are those of the SDK plus 1.
#: By the numbers, since the hash of a member of an enumeration is a Python function.
_KINDS: Final = {kind.value: b"\x30" + varint(kind.value + 1) for kind in SpanKind}
#: SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK, and with it SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK, as fixed32
_IS_LOCAL, _IS_REMOTE = b"\x00\x01\x00\x00", b"\x00\x03\x00\x00"
_FLAGS: Final = b"\x85\x01"
_LOCAL_PARENT, _REMOTE_PARENT = _FLAGS + _IS_LOCAL, _FLAGS + _IS_REMOTE
_NO_STATUS: Final = _STATUS + b"\x00"


class SpanEncoder:
    """Encodes batches of spans. Used by one thread at a time, because it remembers what recurs."""

    def __init__(self) -> None:
        self._attributes = AttributeEncoder()
        self._tagged: dict[int, tuple[Mapping[str, Any], bytes]] = {}
        self._names: dict[str, bytes] = {}
        self._origins: dict[int, tuple[Resource | InstrumentationScope, bytes]] = {}

    def encoded(self, span: OutgoingSpan | EncodedSpan) -> EncodedSpan:
        """A span with its bytes."""
        if isinstance(span, EncodedSpan):
            return span
        return EncodedSpan(
            span.resource, span.instrumentation_scope or None, self._span(span), span.tenant, span
        )

    def encode(self, spans: Sequence[ReadableSpan | EncodedSpan]) -> bytes:
        """One serialized ExportTraceServiceRequest. An attribute that OTLP cannot hold counts as dropped."""
        batch: dict[int, tuple[Resource, dict[InstrumentationScope | None, list[bytes]]]] = {}
        for span in spans:
            if isinstance(span, EncodedSpan):
                resource, scope, content, _, _ = span
            else:
                resource, scope, content = span.resource, span.instrumentation_scope or None, self._span(span)
            found = batch.get(id(resource))
            if found is None:
                found = batch[id(resource)] = resource, {}
            spans_of_scope = found[1].get(scope)
            if spans_of_scope is None:
                spans_of_scope = found[1][scope] = [b""]
            spans_of_scope.append(varint(len(content)) + content)
        return b"".join([delimited(b"\x0a", self._resource(*found)) for found in batch.values()])

    # -- where spans come from ------------------------------------------------------------------------

    def _resource(self, resource: Resource, scopes: dict[InstrumentationScope | None, list[bytes]]) -> bytes:
        parts = [self._origin(resource)]
        for scope, spans in scopes.items():
            head = b"\x0a\x00" if scope is None else self._origin(scope)
            content = head + b"\x12".join(spans) + _schema(scope)
            parts.append(delimited(b"\x12", content))
        parts.append(_schema(resource))
        return b"".join(parts)

    def _origin(self, origin: Resource | InstrumentationScope) -> bytes:
        known = self._origins.get(id(origin))
        if known is not None and known[0] is origin:
            return known[1]
        if isinstance(origin, Resource):
            content = self._attributes.encode(origin.attributes, b"\x0a")[0]
        else:
            name, version = utf8(origin.name or ""), utf8(origin.version or "")
            content = _unless_empty(b"\x0a", name) + _unless_empty(b"\x12", version)
            content += self._attributes.encode(origin.attributes or {}, b"\x1a")[0]
        encoded = delimited(b"\x0a", content)
        if len(self._origins) >= _MAX_ORIGINS:
            self._origins.clear()
        self._origins[id(origin)] = origin, encoded
        return encoded

    def _shared(self, tagged: Mapping[str, Any]) -> bytes:
        """The attributes that several spans share, remembered by the mapping itself."""
        known = self._tagged.get(id(tagged))
        if known is not None and known[0] is tagged:
            return known[1]
        encoded = self._attributes.encode(tagged, _ATTRIBUTES)[0]
        if len(self._tagged) >= _MAX_ORIGINS:
            self._tagged.clear()
        self._tagged[id(tagged)] = tagged, encoded
        return encoded

    def _named(self, name: str) -> bytes:
        """The field of a span's name, remembered because names recur."""
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= _MAX_ORIGINS:
                self._names.clear()
            known = self._names[name] = _unless_empty(_NAME, utf8(name))
        return known

    # -- one span ---------------------------------------------------------------------------------------

    def simple(  # noqa: PLR0917 - a call with names takes longer
        self,
        span: ReadableSpan,
        name: str,
        pairs: Iterable[bytes],
        added: Mapping[str, Any],
        shared: Mapping[str, Any],
        dropped: int,
    ) -> bytes:
        """A span with both its times and without events, links, status and tracestate.

        `pairs` are encoded attributes, `added` are further ones, and `shared` those of several spans.
        """
        trace_id, span_id, _, _, _, _ = cast("tuple[Any, ...]", span._context)
        parent: Any = span._parent
        start, end = cast("int", span._start_time), cast("int", span._end_time)
        return b"".join(
            (
                _TRACE_ID,
                trace_id.to_bytes(16),
                _SPAN_ID,
                span_id.to_bytes(8),
                b"" if parent is None else _PARENT + parent[1].to_bytes(8),
                self._named(name),
                _KINDS[span._kind._value_],
                _START,
                start.to_bytes(8, "little"),
                _END,
                end.to_bytes(8, "little"),
                _ATTRIBUTES.join((b"", *pairs)),
                self._attributes.encode(added, _ATTRIBUTES)[0] if added else b"",
                self._shared(shared) if shared else b"",
                _count(_DROPPED_ATTRIBUTES, dropped) if dropped else b"",
                _NO_STATUS,
                _LOCAL_PARENT if parent is None or not parent[2] else _REMOTE_PARENT,
            )
        )

    def _span(self, span: ReadableSpan) -> bytes:
        context: Any = span._context
        parent = span._parent
        trace_id, span_id, _, _, trace_state, _ = context
        own: Mapping[str, Any]
        shared: Mapping[str, Any]
        if type(span) is OutgoingSpan:  # whose tags are the same for many spans
            own, shared, (dropped, events_dropped, links_dropped) = span.own, span.tagged, span.dropped
        else:
            own, shared, dropped = span.attributes or {}, {}, span.dropped_attributes
            events_dropped, links_dropped = span.dropped_events, span.dropped_links
        attributes, failed = self._attributes.encode(own, _ATTRIBUTES)
        parts = [
            _TRACE_ID,
            trace_id.to_bytes(16),
            _SPAN_ID,
            span_id.to_bytes(8),
            _trace_state(_TRACE_STATE, trace_state) if trace_state else b"",
            _PARENT + parent[1].to_bytes(8) if parent else b"",
            self._named(span._name),
            _KINDS[span._kind._value_],
            _time(_START, span._start_time),
            _time(_END, span._end_time),
            attributes,
            self._shared(shared) if shared else b"",
        ]
        if dropped or failed:
            parts.append(_count(_DROPPED_ATTRIBUTES, dropped + failed))
        if events := span._events:
            parts += [delimited(_EVENT, self._event(event)) for event in events]
        if events_dropped:
            parts.append(_count(_DROPPED_EVENTS, events_dropped))
        if links := span._links:
            parts += [delimited(_LINK, self._link(link)) for link in links]
        if links_dropped:
            parts.append(_count(_DROPPED_LINKS, links_dropped))
        status = span._status
        parts.append(_NO_STATUS if status.status_code is StatusCode.UNSET else _status(status))
        parts.append(_REMOTE_PARENT if parent is not None and parent[2] else _LOCAL_PARENT)
        return b"".join(parts)

    def _event(self, event: Event) -> bytes:
        attributes, failed = self._attributes.encode(event.attributes or {}, b"\x1a")
        dropped = _count(b"\x20", event.dropped_attributes + failed)
        return (
            _time(b"\x09", event.timestamp) + _unless_empty(b"\x12", utf8(event.name)) + attributes + dropped
        )

    def _link(self, link: Link) -> bytes:
        context = link.context
        attributes, failed = self._attributes.encode(link.attributes or {}, b"\x22")
        return b"".join(
            (
                _TRACE_ID + context.trace_id.to_bytes(16) + _SPAN_ID + context.span_id.to_bytes(8),
                _trace_state(b"\x1a", context.trace_state),
                attributes,
                _count(b"\x28", link.dropped_attributes + failed),
                _flags(b"\x35", context),
            )
        )


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """One serialized ExportTraceServiceRequest, like `SpanEncoder.encode`."""
    return SpanEncoder().encode(spans)


def _unless_empty(tag: bytes, content: bytes) -> bytes:
    return delimited(tag, content) if content else b""


def _schema(origin: Resource | InstrumentationScope | None) -> bytes:
    return _unless_empty(b"\x1a", utf8(origin.schema_url or "")) if origin is not None else b""


def _time(tag: bytes, nanoseconds: int | None) -> bytes:
    return tag + fixed64(nanoseconds) if nanoseconds else b""


def _count(tag: bytes, number: int) -> bytes:
    return tag + varint(number) if number else b""


def _trace_state(tag: bytes, entries: TraceState | None) -> bytes:
    if not entries:
        return b""
    return delimited(tag, utf8(",".join([f"{key}={value}" for key, value in entries.items()])))


def _status(status: Status) -> bytes:
    if not status.status_code.value:
        return _NO_STATUS
    message = _unless_empty(b"\x12", utf8(status.description or ""))
    return delimited(_STATUS, message + b"\x18" + varint(status.status_code.value))


def _flags(tag: bytes, context: SpanContext | None) -> bytes:
    return tag + (_IS_REMOTE if context is not None and context.is_remote else _IS_LOCAL)
