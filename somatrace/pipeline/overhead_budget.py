"""What tracing may add to one workflow (SOMATRACE_MAX_LATENCY_MS), and what is done when it adds more.

The time spent in our hooks and in the foreign processors behind them is summed up on each local root.
When a workflow goes over the budget, the share of traces that are kept is halved, step by step; after
some workflows within it the share doubles again. Spans that failed are kept always.
"""

from __future__ import annotations

import threading
from typing import Final

from somatrace.context.span_state import SpanState

LEAST: Final = 1 / 1024
#: Workflows within the budget in a row after which the share doubles again.
CALM: Final = 50
_BITS: Final = 56


class OverheadBudget:
    """Keeps the share. `limit_ms` of 0 or less means no limit. Thread-safe."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ns = int(limit_ms * 1_000_000)
        self._lock = threading.Lock()
        self._calm = 0
        self.share = 1.0

    def spend(self, state: SpanState, nanoseconds: int) -> None:
        """Count time that tracing took from the program, on the span's local root."""
        state.root.spent_ns += nanoseconds

    def settle(self, root: SpanState) -> None:
        """A local root has ended: judge what was spent on it."""
        if self._limit_ns <= 0:
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
        """Whether a trace is among those kept; its id decides, as with ratio samplers."""
        return self.share == 1.0 or (trace_id & ((1 << _BITS) - 1)) < self.share * (1 << _BITS)
