"""Counts of rejected requests, which let the page explain why no spans arrive."""

from __future__ import annotations

import threading
import time
from collections import Counter


class Refusals:
    """Counts of rejections by reason since the server started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_ns: int | None = None

    def add(self, reason: str) -> None:
        with self._lock:
            self._counts[reason] += 1
            self._last_ns = time.time_ns()

    def seen(self) -> tuple[list[tuple[str, int]], int | None]:
        """Reasons with their counts, most frequent first, and the time of the last rejection."""
        with self._lock:
            return self._counts.most_common(), self._last_ns
