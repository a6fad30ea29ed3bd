"""The meaning of every HTTP status and gRPC code a target can answer an export with.

The only place for it: the transports read the outcome and the fault, the probe (and through it doctor and
smoke) the fault. The table in docs/delivery.md is tested against this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from somatrace.delivery.send_result import Fault, SendOutcome


@dataclass(frozen=True)
class StatusRule:
    """One row: the outcome for the outbox, the fault for the probe, and the text for the user."""

    outcome: SendOutcome
    fault: Fault | None = "server"
    message: str = ""
    #: The target read the batch and failed while processing it: the batch may be the cause.
    choked: bool = False
    #: The batch may have been stored even though the call failed.
    ambiguous: bool = False

    @property
    def probe_fault(self) -> Fault | None:
        """The fault of an answer to an export without spans, which some backends refuse: that is no fault."""
        return None if self.outcome in ("accepted", "rejected") else self.fault

    def text(self, status: int | str) -> str:
        """The status, followed by its explanation if there is one."""
        return f"{status}: {self.message}" if self.message else str(status)


_ACCEPTED: Final = StatusRule("accepted", fault=None)
_RETRY: Final = StatusRule("retry")
_CHOKED: Final = StatusRule("retry", choked=True)
_AMBIGUOUS: Final = StatusRule("retry", ambiguous=True)
_AUTH: Final = StatusRule("misconfigured", "auth")
_PATH: Final = StatusRule("misconfigured", "path")
_REJECTED: Final = StatusRule("rejected", message="the target rejects what it gets")
_NO_TRACES: Final = "the target does not accept traces"
_NO_PATH: Final = StatusRule(
    "misconfigured",
    "path",
    "nothing accepts traces at this path; Langfuse has /api/public/otel/v1/traces, a collector /v1/traces",
)

#: By first digit, for statuses without a row of their own.
_HTTP_CLASSES: Final[dict[int, StatusRule]] = {
    1: StatusRule("misconfigured", message=_NO_TRACES),
    2: _ACCEPTED,
    3: StatusRule("misconfigured", "path", "the target redirects; configure the address it redirects to"),
    4: StatusRule("misconfigured", message=_NO_TRACES),
    5: _CHOKED,
}

_HTTP: Final[dict[int, StatusRule]] = {
    400: _REJECTED,
    401: StatusRule(
        "misconfigured",
        "auth",
        "the keys are not accepted; check the public and secret key, and that they belong to this host",
    ),
    403: StatusRule("misconfigured", "auth", "the keys are not allowed to write traces"),
    404: _NO_PATH,
    405: _NO_PATH,
    407: StatusRule("misconfigured", "auth", "the proxy requires credentials"),
    408: _RETRY,
    410: StatusRule("misconfigured", "path", _NO_TRACES),
    413: StatusRule("too_large", message="the target accepts only smaller batches"),
    415: StatusRule(
        "misconfigured", "path", "the target does not accept protobuf, or not with this compression"
    ),
    422: _REJECTED,
    425: _RETRY,
    429: _RETRY,
    503: _RETRY,
}

#: HTTP statuses which show that a path takes exports, even if it refuses this one.
TAKES_EXPORTS: Final = frozenset({200, 202, 204, 400, 401, 403, 415, 429})

#: Sorted as in the OTLP specification, into codes worth another try and those that are not.
_GRPC: Final[dict[str, StatusRule]] = {
    "OK": _ACCEPTED,
    "CANCELLED": _AMBIGUOUS,
    "UNKNOWN": _CHOKED,
    "INVALID_ARGUMENT": StatusRule("rejected"),
    "DEADLINE_EXCEEDED": _AMBIGUOUS,
    "NOT_FOUND": _PATH,
    "PERMISSION_DENIED": _AUTH,
    "RESOURCE_EXHAUSTED": _CHOKED,
    "UNIMPLEMENTED": _PATH,
    "INTERNAL": _CHOKED,
    "DATA_LOSS": _CHOKED,
    "UNAUTHENTICATED": _AUTH,
}
_GRPC_TOO_LARGE: Final = StatusRule("too_large")
#: What gRPC says of a message over a server's limit, in Go, C++ and Python, in Java, and in .NET.
_TOO_LARGE: Final = ("larger than max", "exceeds maximum size", "exceeds the maximum configured message size")


def http_rule(status: int) -> StatusRule:
    """The row of an HTTP status. Statuses above 599 count as 5xx."""
    return _HTTP.get(status) or _HTTP_CLASSES[max(1, min(status // 100, 5))]


def grpc_rule(code: str, details: str = "", *, recovers: bool = False) -> StatusRule:
    """The row of a gRPC code; codes without one are worth another try.

    Servers report a batch over their size limit as RESOURCE_EXHAUSTED, distinguishable only by `details`,
    and one that comes too early by saying when it `recovers`. Without either the batch may be the cause.
    """
    if code == "RESOURCE_EXHAUSTED":
        if any(text in details for text in _TOO_LARGE):
            return _GRPC_TOO_LARGE
        if recovers:
            return _RETRY
    return _GRPC.get(code, _RETRY)
