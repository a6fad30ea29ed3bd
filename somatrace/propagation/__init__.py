"""Propagation of tags and trace context between processes: `outgoing`, `incoming`, and helpers.

docs/propagation.md describes the formats and rules.
"""

from __future__ import annotations

from somatrace.propagation.claimed_ids import is_claimed
from somatrace.propagation.extract import SIGNED, Caller, ExtractedScope, accepted, incoming
from somatrace.propagation.inject import headers_for, outgoing, trace_context
from somatrace.propagation.messages import message_headers, received
from somatrace.propagation.snapshot import ContextSnapshot, PicklableSnapshot
from somatrace.propagation.trust import configure, ignored, may_carry

__all__ = [
    "SIGNED",
    "Caller",
    "ContextSnapshot",
    "ExtractedScope",
    "PicklableSnapshot",
    "accepted",
    "configure",
    "headers_for",
    "ignored",
    "incoming",
    "is_claimed",
    "may_carry",
    "message_headers",
    "outgoing",
    "received",
    "trace_context",
]
