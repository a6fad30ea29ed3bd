"""The content guard: decides which parts of a span may leave. Plain Python, importable on its own.

`redact_text` needs nothing else: `from somatrace.guard import redact_text`.
"""

from __future__ import annotations

from somatrace.guard.content_filter import ContentFilter
from somatrace.guard.guard import Guard
from somatrace.guard.policy.model import ContentPolicy
from somatrace.guard.redaction.redact import redact_text
from somatrace.guard.removal_notes import RemovalNote

__all__ = ["ContentFilter", "ContentPolicy", "Guard", "RemovalNote", "redact_text"]
