"""Decoding of OTLP bodies into plain spans, with limits on everything a sender can make large.

Protobuf and JSON share one code path: JSON is first converted to the stock protobuf message.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from somatrace.local.otlp import message_count

MAX_BODY: Final = 16 * 1024 * 1024
_MAX_INT: Final = 2**63 - 1
#: gzip members of one body; tools that write many put at least some kilobytes into each
_MAX_MEMBERS: Final = 1024
_PIECE: Final = 16 * 1024
_JSON_DEPTH: Final = 64
#: field numbers of resource_spans, scope_spans and spans, the path to a span
_SPAN_PATH: Final = (1, 2, 2)
_IDS: Final = {
    "traceId": 16,
    "trace_id": 16,
    "spanId": 8,
    "span_id": 8,
    "parentSpanId": 8,
    "parent_span_id": 8,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request and one span. Sizes are bytes of a body, characters of a value."""

    body: int = MAX_BODY
    spans: int = 50_000
    containers: int = 2_000_000
    attributes: int = 512
    events: int = 256
    value: int = 256 * 1024
    name: int = 1024
    depth: int = 8


class ExportError(ValueError):
    """The whole request is rejected; the message is sent to the client."""


class TooLargeError(ValueError):
    """The request exceeds a configured size."""


@dataclass(frozen=True, slots=True)
class SpanOrigin:
    """The data shared by all spans of one resource and scope."""

    resource: Mapping[str, Any]
    scope: str
    scope_version: str
    scope_attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DecodedSpan:
    """One span as received, cut to the limits. IDs are lowercase hex, times nanoseconds."""

    origin: SpanOrigin
    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    status_message: str
    attributes: Mapping[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0
    is_ended: bool = True


def gunzip(body: bytes, limit: int) -> bytes:
    """Decompress `body`; raises `TooLargeError` over `limit` bytes, `ExportError` if it is not gzip."""
    parts: list[bytes] = []
    size, place, members = 0, 0, 0
    member = zlib.decompressobj(wbits=31)
    try:
        while size <= limit and place < len(body):
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            # piece by piece, since each end of a member copies the rest of what it was given
            piece = body[place : place + _PIECE]
            parts.append(member.decompress(piece, limit - size + 1))
            size += len(parts[-1])
            place += len(piece) - len(member.unused_data)
            members += member.eof
            if members > _MAX_MEMBERS:
                raise TooLargeError(f"a request body may have at most {_MAX_MEMBERS} gzip members")
    except zlib.error:
        raise ExportError("Failed to decompress request body") from None
    if size > limit:
        raise TooLargeError(f"more than {limit} bytes after decompression")
    if not member.eof and body:
        raise ExportError("Failed to decompress request body")
    return b"".join(parts)


def from_protobuf(body: bytes, limits: Limits) -> list[DecodedSpan]:
    """All spans of an ExportTraceServiceRequest; raises `ExportError` or `TooLargeError`."""
    try:
        fits = message_count.count_upto(body, _SPAN_PATH, limits.spans) <= limits.spans
        request = ExportTraceServiceRequest.FromString(body if fits else b"")
    except (ValueError, DecodeError):
        raise ExportError("Failed to parse OTel Protobuf Trace") from None
    if not fits:
        raise TooLargeError(f"a request may have at most {limits.spans} spans")
    return _spans(request, limits)


def from_json(body: bytes, limits: Limits) -> list[DecodedSpan]:
    """All spans of an OTLP/JSON request; raises `ExportError` or `TooLargeError`."""
    # checked before parsing, since a small body of empty objects would expand to gigabytes
    if body.count(b"{") + body.count(b"[") > limits.containers:
        raise TooLargeError(f"a request may have at most {limits.containers} objects and arrays")
    try:
        content = _wire_form(json.loads(body), 0)
        request = ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, RecursionError, ParseError):
        raise ExportError("Failed to parse OTel JSON Trace") from None
    return _spans(request, limits)


def _wire_form(node: Any, depth: int) -> Any:
    """JSON in protobuf's own mapping: IDs in base64 instead of hex, no lone surrogates."""
    if depth > _JSON_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(node, str):
        return node if node.isascii() else node.encode("utf-8", "replace").decode()
    if isinstance(node, list):
        return [_wire_form(item, depth + 1) for item in node]
    if isinstance(node, dict):
        return {
            _wire_form(key, depth): _wire_id(value, _IDS[key])
            if key in _IDS
            else _wire_form(value, depth + 1)
            for key, value in node.items()
        }
    return node


def _wire_id(value: Any, length: int) -> str:
    if not value:
        return ""
    try:
        raw = bytes.fromhex(value)
    except (ValueError, TypeError):
        raw = b""
    # an invalid ID gets a length that is rejected below, with a reason of its own
    return base64.b64encode(raw if len(raw) == length else b"\0").decode()


def _spans(request: ExportTraceServiceRequest, limits: Limits) -> list[DecodedSpan]:
    found = [
        (resource_spans, scope_spans)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
    ]
    total = sum(len(scope_spans.spans) for _, scope_spans in found)
    if total > limits.spans:
        raise TooLargeError(f"a request may have at most {limits.spans} spans")
    _refuse_bad_ids([scope_spans for _, scope_spans in found], total)
    spans: list[DecodedSpan] = []
    for resource_spans, scope_spans in found:
        scope = scope_spans.scope
        origin = SpanOrigin(
            _attributes(resource_spans.resource.attributes, limits)[0],
            _cut(scope.name, limits.name),
            _cut(scope.version, limits.name),
            _attributes(scope.attributes, limits)[0],
        )
        spans.extend(_span(span, origin, limits) for span in scope_spans.spans)
    return spans


def _refuse_bad_ids(scopes: Iterable[Any], total: int) -> None:
    """Reject a whole batch that contains an invalid ID, with the reason, as Langfuse does."""
    bad = 0
    reasons: dict[str, None] = {}
    for scope_spans in scopes:
        for span in scope_spans.spans:
            here = list(_bad_ids(span))
            bad += bool(here)
            reasons.update(dict.fromkeys(here))
    if bad:
        raise ExportError(
            f"Invalid OTLP trace export: {bad} of {total} span(s) cannot be processed "
            f"({', '.join(reasons)}). traceId is 16 bytes and spanId 8, not all zero. "
            "The entire export was rejected and no spans were ingested."
        )


def _bad_ids(span: WireSpan) -> Iterator[str]:
    for name, value, length in (("traceId", span.trace_id, 16), ("spanId", span.span_id, 8)):
        if not value:
            yield f"{name}:absent"
        elif len(value) != length or not any(value):
            yield f"{name}:not_an_id"


def _span(span: WireSpan, origin: SpanOrigin, limits: Limits) -> DecodedSpan:
    attributes, dropped = _attributes(span.attributes, limits)
    start = min(span.start_time_unix_nano, _MAX_INT)
    end = min(span.end_time_unix_nano, _MAX_INT)
    return DecodedSpan(
        origin=origin,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id[:8].hex() if any(span.parent_span_id) else None,
        name=_cut(span.name, limits.name),
        kind=span.kind,
        # as in Langfuse, a missing start or end takes the value of the other
        start_ns=start or end,
        end_ns=end or start,
        is_ended=end > 0,
        status=span.status.code,
        status_message=_cut(span.status.message, limits.value),
        attributes=attributes,
        events=[
            {
                "name": _cut(event.name, limits.name),
                "time_ns": min(event.time_unix_nano, _MAX_INT),
                "attributes": _attributes(event.attributes, limits)[0],
            }
            for event in span.events[: limits.events]
        ],
        links=[
            {"trace_id": link.trace_id[:16].hex(), "span_id": link.span_id[:8].hex()}
            for link in span.links[: limits.events]
        ],
        dropped=dropped
        + span.dropped_attributes_count
        + max(0, len(span.events) - limits.events)
        + max(0, len(span.links) - limits.events),
    )


def _attributes(pairs: Iterable[KeyValue], limits: Limits) -> tuple[dict[str, Any], int]:
    """The attributes, and the number dropped over the limit."""
    found: dict[str, Any] = {}
    dropped = 0
    for pair in pairs:
        if len(found) >= limits.attributes and pair.key not in found:
            dropped += 1
        else:
            value = pair.value
            text = value.string_value
            # most values are short texts, and WhichOneof costs as much as everything else here
            short = text and len(text) <= limits.value
            found[_cut(pair.key, limits.name)] = text if short else _value(value, limits, limits.depth)
    return found, dropped


def _value(value: AnyValue, limits: Limits, depth: int) -> Any:
    """A value that JSON can represent: bytes, NaN and values nested too deeply become text."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _cut(value.string_value, limits.value)
    if kind == "int_value":
        return value.int_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "double_value":
        number = value.double_value
        return number if math.isfinite(number) else str(number)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value[: limits.value]).decode()
    if kind is not None and not depth:
        return "[nested too deeply]"
    if kind == "array_value":
        items = value.array_value.values[: limits.attributes]
        return [_value(item, limits, depth - 1) for item in items]
    if kind == "kvlist_value":
        pairs = value.kvlist_value.values[: limits.attributes]
        return {_cut(pair.key, limits.name): _value(pair.value, limits, depth - 1) for pair in pairs}
    return None


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} more characters]"
