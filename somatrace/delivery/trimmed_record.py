"""Take spans, or their content, out of an encoded batch, by tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from somatrace import semconv
from somatrace.delivery.eviction import Order, Stage
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.tenant_shares import UNKNOWN, TenantShare

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

#: Attributes of a span that costs money.
_COSTS: Final = frozenset(
    {
        semconv.OBSERVATION_COST,
        semconv.OBSERVATION_USAGE,
        semconv.COST_AMOUNT,
        semconv.INPUT_TOKENS,
        semconv.OUTPUT_TOKENS,
        semconv.TOTAL_TOKENS,
    }
)
#: STATUS_CODE_ERROR
_ERROR: Final = 2


@dataclass(frozen=True)
class Trimmed:
    """What is left of a batch, and how many spans are gone or without their content, by tenant."""

    body: bytes
    restricted: Restricted | None
    shares: Mapping[str, TenantShare]
    gone: Counter[str]
    without_content: Counter[str]

    @property
    def spans(self) -> int:
        return sum(share.spans for share in self.shares.values())


def trimmed(body: bytes, restricted: Restricted | None, order: Order) -> Trimmed:
    """The batch without what the order takes. Raises `ValueError` if it cannot be read."""
    request, closed = _parsed(body), None if restricted is None else _parsed(restricted.without_content)
    gone, without = Counter[str](), Counter[str]()
    if order.stage is not Stage.CONTENT:
        gone = _remove(request, closed, order)
    elif closed is not None:
        without = _close(request, closed, order)
    left = _shares(request, closed)
    if not gone and not without:
        return Trimmed(body, restricted, left, gone, without)
    if restricted is not None and closed is not None:
        has_content = any(share.content for share in left.values())
        grants = {
            tenant: one
            for tenant, one in restricted.grants.items()
            if not without[tenant] or left.get(tenant, TenantShare(0, 0)).content
        }
        restricted = replace(restricted, grants=grants, without_content=closed.SerializeToString())
        if not has_content:
            return Trimmed(restricted.without_content, None, left, gone, without)
    return Trimmed(request.SerializeToString(), restricted, left, gone, without)


def _shares(
    request: ExportTraceServiceRequest, closed: ExportTraceServiceRequest | None = None
) -> dict[str, TenantShare]:
    """What each tenant has in a batch, read from its spans; `closed` is the copy without content."""
    found: dict[str, TenantShare] = {}
    plain = {span.span_id: span for span in _spans(closed)} if closed is not None else {}
    for span in _spans(request):
        other = plain.get(span.span_id, span)
        tenant, size = tenant_of(other), other.ByteSize()
        known = found.get(tenant, TenantShare(0, 0))
        content = span.ByteSize() if other is not span and span != other else 0
        found[tenant] = TenantShare(known.spans + 1, known.size + size, known.content + content)
    return found


def shares_in(body: bytes) -> dict[str, TenantShare]:
    """What each tenant has in an encoded batch."""
    return _shares(_parsed(body))


def tenant_of(span: Span) -> str:
    """The tenant of an encoded span, as it is shown."""
    for attribute in span.attributes:
        if attribute.key == semconv.TENANT:
            return str(attribute.value.string_value)
    return UNKNOWN


def matters(span: Span) -> bool:
    """Whether it is kept longest: a failure, or a call that costs money."""
    return span.status.code == _ERROR or any(attribute.key in _COSTS for attribute in span.attributes)


def _close(
    request: ExportTraceServiceRequest, closed: ExportTraceServiceRequest, order: Order
) -> Counter[str]:
    plain = {span.span_id: span for span in _spans(closed)}
    without = Counter[str]()
    for span in _spans(request):
        other = plain.get(span.span_id)
        if other is None or other == span:
            continue
        tenant = tenant_of(other)
        if order.takes(tenant, span.ByteSize()):
            span.CopyFrom(other)
            without[tenant] += 1
    return without


def _remove(
    request: ExportTraceServiceRequest, closed: ExportTraceServiceRequest | None, order: Order
) -> Counter[str]:
    gone, ids = Counter[str](), set[bytes]()
    for span in _spans(request if closed is None else closed):
        tenant = tenant_of(span)
        if (order.stage is Stage.EVERYTHING or not matters(span)) and order.takes(tenant, span.ByteSize()):
            gone[tenant] += 1
            ids.add(span.span_id)
    for one in (request, closed) if ids else ():
        _remove_ids(one, ids)
    return gone


def _remove_ids(request: ExportTraceServiceRequest | None, ids: set[bytes]) -> None:
    if request is None:
        return
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            _keep(scope.spans, lambda span: span.span_id not in ids)
        _keep(resource.scope_spans, lambda scope: scope.spans)
    _keep(request.resource_spans, lambda resource: resource.scope_spans)


def _keep(messages: Any, wanted: Callable[[Any], object]) -> None:
    """Remove all others from a repeated field."""
    for index in range(len(messages) - 1, -1, -1):
        if not wanted(messages[index]):
            del messages[index]


def _parsed(body: bytes) -> ExportTraceServiceRequest:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError("not an encoded batch") from error
    return request


def _spans(request: ExportTraceServiceRequest | None) -> Iterator[Span]:
    for resource in request.resource_spans if request is not None else ():
        for scope in resource.scope_spans:
            yield from scope.spans
