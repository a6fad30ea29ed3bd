"""What a target said to one batch, in the only words the outbox acts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

#: ok: stored. retry: not now (the target is away or overloaded). wrong: it will not work until a
#: setting or the target's own set-up changes. refused: this batch will never be taken as it is.
#: too_large: the batch must be made smaller.
Outcome = Literal["ok", "retry", "wrong", "refused", "too_large"]


@dataclass(frozen=True)
class Answer:
    """An outcome, and what the outbox needs beside it. `retry_after` is seconds."""

    outcome: Outcome
    message: str = ""
    retry_after: float | None = None
    #: The batch was sent whole and no answer came: it may have been stored.
    ambiguous: bool = False
    #: The target has read the batch and failed at it: perhaps the batch is to blame.
    choked: bool = False
    #: Spans of the batch the target said it did not take (OTLP partial success).
    rejected: int = 0


OK = Answer("ok")


class Transport(Protocol):
    """One way to a target. `send` blocks up to `timeout` seconds and never raises for what a target does."""

    def send(self, body: bytes, timeout: float) -> Answer:
        """Hand over one serialised ExportTraceServiceRequest."""
        ...

    def interrupt(self) -> None:
        """Make a `send` that blocks in another thread return soon."""
        ...

    def close(self) -> None:
        """Let go of connections; `send` opens them again."""
        ...


def accepted(body: bytes) -> Answer:
    """A positive answer with its protobuf body, which may say that some spans were not taken."""
    if not body:
        return OK
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return OK
    return Answer("ok", rejected=max(0, partial.rejected_spans))
