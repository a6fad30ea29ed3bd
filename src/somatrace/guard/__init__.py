"""The content guard: what of a span may leave the process. Plain Python, importable on its own.

`redact_text` needs nothing else: `from somatrace.guard import redact_text`.
"""

from __future__ import annotations

from somatrace.guard.guarding import Guard
from somatrace.guard.judge import Judge
from somatrace.guard.notes import Removed
from somatrace.guard.policy import ContentPolicy
from somatrace.guard.redacting import redact_text

__all__ = ["ContentPolicy", "Guard", "Judge", "Removed", "redact_text"]
