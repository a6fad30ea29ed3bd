"""Result of sending one batch, and the interface of transports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

#: accepted: stored. retry: the target is down or overloaded. misconfigured: fails until a setting here or
#: the configuration of the target changes. rejected: not this batch, or none at all.
#: too_large: the batch must be split.
SendOutcome = Literal["accepted", "retry", "misconfigured", "rejected", "too_large"]
#: The reason why a request failed, in the order in which things can go wrong.
Fault = Literal["dns", "refused", "tls", "auth", "path", "server"]


@dataclass(frozen=True)
class SendResult:
    """An outcome with the details the outbox acts on. `retry_after` is in seconds."""

    outcome: SendOutcome
    message: str = ""
    retry_after: float | None = None
    #: The batch was sent completely but not answered: it may have been stored.
    ambiguous: bool = False
    #: The target read the batch and failed while processing it: the batch may be the cause.
    choked: bool = False
    #: Where to look for the reason, if the answer shows it.
    fault: Fault | None = None
    #: The HTTP status or gRPC code of a rejection.
    status: str = ""
    #: The beginning of the text of a rejection, which may contain anything.
    answer: str = field(default="", repr=False)
    #: The rejection says that spans of the batch are at fault.
    names_spans: bool = False
    #: Number of spans the target reported as rejected (OTLP partial success).
    rejected: int = 0
    #: Numbers of older spans that the target deleted unread to make room for this batch, by reason.
    evicted: Mapping[str, int] = field(default_factory=dict)


ACCEPTED = SendResult("accepted")


class Transport(Protocol):
    """Sends batches to a target. `send` blocks up to `timeout` seconds and never raises for target errors."""

    def send(self, body: bytes, timeout: float) -> SendResult:
        """Send one serialized ExportTraceServiceRequest."""
        ...

    def interrupt(self) -> None:
        """Make a `send` blocked in another thread return soon."""
        ...

    def close(self) -> None:
        """Close connections; `send` reopens them."""
        ...


def accepted(body: bytes) -> SendResult:
    """Parse the protobuf body of a positive answer, which may report rejected spans."""
    if not body:
        return ACCEPTED
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return ACCEPTED
    return SendResult("accepted", rejected=max(0, partial.rejected_spans))
