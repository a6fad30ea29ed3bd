"""The time that tracing may add to one workflow (SOMATRACE_MAX_LATENCY_MS), enforced by sampling less.

The time spent in somatrace's hooks and in third-party processors is summed per local root. Each workflow
over the budget halves the share of traces kept; after some workflows within it the share doubles again.
Failed spans are always kept.
"""

from __future__ import annotations

import threading
from typing import Final

from somatrace.context.span_state import SpanState

LEAST: Final = 1 / 1024
#: Consecutive workflows within the budget after which the share doubles.
CALM: Final = 50
_BITS: Final = 56


class OverheadBudget:
    """Tracks the share of traces kept. `limit_ms` of 0 or less means no limit. Thread-safe."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ns = int(limit_ms * 1_000_000)
        self._lock = threading.Lock()
        self._calm = 0
        self.share = 1.0
        #: Whether there is a limit, so that time has to be measured.
        self.limited = self._limit_ns > 0

    def spend(self, state: SpanState, nanoseconds: int) -> None:
        """Add time spent on tracing in the program's threads to the span's local root."""
        state.root.spent_ns += nanoseconds

    def settle(self, root: SpanState) -> None:
        """Adjust the share when a local root ends."""
        if not self.limited:
            return
        over = root.spent_ns > self._limit_ns
        if not over and self.share == 1.0:
            return
        with self._lock:
            if over:
                self.share = max(LEAST, self.share / 2)
                self._calm = 0
                return
            self._calm += 1
            if self._calm >= CALM:
                self.share = min(1.0, self.share * 2)
                self._calm = 0

    def keeps(self, trace_id: int) -> bool:
        """Whether to keep a trace, based on its id as in ratio samplers."""
        return self.share == 1.0 or (trace_id & ((1 << _BITS) - 1)) < self.share * (1 << _BITS)
