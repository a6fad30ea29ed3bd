"""Schedule of a process's status reports: soon after activity, at a limited rate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from somatrace.runtime.clock import clock

log = logging.getLogger("somatrace")

#: Seconds after the first unreported step, and between two reports.
SOON: Final = 1.0
EVERY: Final = 5.0


class ReportSchedule:
    """Calls `write` on the worker's thread; its exceptions only lose the report."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self.forget()

    def forget(self) -> None:
        """Clear the schedule, at the start and in a forked child."""
        self._due: float | None = None
        self._last = float("-inf")

    def stepped(self, *, worked: bool) -> float | None:
        """Record a step of the worker; return the seconds until the next call, or None."""
        now = clock.monotonic()
        if worked and self._due is None:
            self._due = max(now + SOON, self._last + EVERY)
        if self._due is None:
            return None
        if now < self._due:
            return self._due - now
        self.close()
        return None

    def close(self) -> None:
        """Write a pending report."""
        if self._due is None:
            return
        self._due, self._last = None, clock.monotonic()
        try:
            self._write()
        except Exception as error:
            log.debug("report: %s", type(error).__name__)
