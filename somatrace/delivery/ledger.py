"""Span counts that always add up: created + taken over = open + waiting + delivered + left + lost."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from somatrace.runtime.clock import clock

WINDOW: Final = 512


class _Steps:
    """A counter that any thread may advance without a lock."""

    def __init__(self) -> None:
        steps = itertools.count()
        self.take: Callable[[], int] = steps.__next__
        self._read = 0
        self._reading = threading.RLock()

    def undo(self) -> None:
        """Take one step off."""
        with self._reading:
            self._read += 1

    @property
    def taken(self) -> int:
        """How often `take` was called. Reading takes a step as well, which is taken off."""
        with self._reading:
            found = self.take() - self._read
            self._read += 1
            return found


class Ledger:
    """Counts and recent delivery latencies. Thread-safe; each process keeps its own."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset all counts, as in a forked child: the parent's counts stay with the parent."""
        # Reentrant: a signal handler or finalizer may end a span while its thread is counting another.
        self._lock = threading.RLock()
        self.since = clock.monotonic()
        # counted for each span on the program's threads: a step of an iterator needs no lock
        self.count_created = (created := _Steps()).take
        self.count_ended = (ended := _Steps()).take
        self._created, self._ended = created, ended
        self.uncount_created = created.undo
        self.delivered = 0
        self.unknown_tenant = 0
        self.resent_ambiguous = 0
        #: Spans of earlier processes that waited on disk, and those that this process left there.
        self.taken_over = self.left = 0
        self.guard_faults = 0
        self.unheard = 0
        self.lost: Counter[str] = Counter()
        #: Spans of any process that had been delivered and were deleted before anybody read them.
        self.evicted: Counter[str] = Counter()
        self.last_error = ""
        self._latencies: deque[float] = deque(maxlen=WINDOW)

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self.__dict__[name] += number  # no call between read and write, so no handler either

    @property
    def created(self) -> int:
        """Spans started."""
        return self._created.taken

    @property
    def ended(self) -> int:
        """Spans ended."""
        return self._ended.taken

    def lose(self, reason: str, number: int = 1) -> None:
        with self._lock:
            self.lost[reason] += number

    def evict(self, reason: str, number: int) -> None:
        with self._lock:
            self.evicted[reason] += number

    def evict_all(self, spans: Mapping[str, int]) -> None:
        """`evict`, for several reasons."""
        for reason, number in spans.items():
            self.evict(reason, number)

    def deliver(self, spans: int, latency: float) -> None:
        """Count delivered spans. `latency`: seconds from encoding a batch to the target's answer."""
        with self._lock:
            self.delivered += spans
            self._latencies.append(latency)

    @property
    def waiting(self) -> int:
        """Spans that have ended, here or in an earlier process, and are neither delivered nor lost."""
        return max(0, self.ended + self.taken_over - self.delivered - self.left - self.lost.total())

    @property
    def success_rate(self) -> float:
        """Delivered spans divided by delivered and lost spans; 1.0 if there are none."""
        known = self.delivered + self.lost.total()
        return self.delivered / known if known else 1.0

    @property
    def throughput(self) -> float:
        """Spans delivered per second since the last reset."""
        elapsed = clock.monotonic() - self.since
        return self.delivered / elapsed if elapsed > 0 else 0.0

    def latency(self, quantile: float) -> float | None:
        """Latency in seconds over the most recent batches; None if none was delivered."""
        with self._lock:
            ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None
