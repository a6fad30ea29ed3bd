"""The result of sending one batch, in the only terms the outbox acts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

#: accepted: stored. retry: not now (the target is down or overloaded). misconfigured: cannot work until a
#: setting or the target's own configuration changes. rejected: this batch will never be accepted as it is.
#: too_large: the batch must be split.
SendOutcome = Literal["accepted", "retry", "misconfigured", "rejected", "too_large"]


@dataclass(frozen=True)
class SendResult:
    """An outcome, and what the outbox needs beside it. `retry_after` is seconds."""

    outcome: SendOutcome
    message: str = ""
    retry_after: float | None = None
    #: The batch was sent whole and no answer came: it may have been stored.
    ambiguous: bool = False
    #: The target has read the batch and failed at it: perhaps the batch is to blame.
    choked: bool = False
    #: Spans of the batch the target said it did not take (OTLP partial success).
    rejected: int = 0


ACCEPTED = SendResult("accepted")


class Transport(Protocol):
    """One way to a target. `send` blocks up to `timeout` seconds and never raises for what a target does."""

    def send(self, body: bytes, timeout: float) -> SendResult:
        """Hand over one serialised ExportTraceServiceRequest."""
        ...

    def interrupt(self) -> None:
        """Make a `send` that blocks in another thread return soon."""
        ...

    def close(self) -> None:
        """Let go of connections; `send` opens them again."""
        ...


def accepted(body: bytes) -> SendResult:
    """A positive answer with its protobuf body, which may say that some spans were not taken."""
    if not body:
        return ACCEPTED
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return ACCEPTED
    return SendResult("accepted", rejected=max(0, partial.rejected_spans))
