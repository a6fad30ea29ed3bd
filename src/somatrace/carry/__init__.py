"""Tags and trace context between processes: `outgoing` and `incoming`, and what instruments need of them.

Formats and rules stand in docs/propagation.md.
"""

from __future__ import annotations

from somatrace.carry.arriving import Arrival, Caller, incoming
from somatrace.carry.brokers import message_headers, received
from somatrace.carry.leaving import headers_for, outgoing
from somatrace.carry.moment import Capsule, Moment
from somatrace.carry.rules import configure, ignored, may_carry

__all__ = [
    "Arrival",
    "Caller",
    "Capsule",
    "Moment",
    "configure",
    "headers_for",
    "ignored",
    "incoming",
    "may_carry",
    "message_headers",
    "outgoing",
    "received",
]
