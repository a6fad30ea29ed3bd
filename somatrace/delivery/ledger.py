"""Span counts that always add up: created + taken over = open + waiting + delivered + left + lost.

So do those of each tenant, from the moment at which the worker has taken a span: until then its tenant's
name is not guarded.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from somatrace import semconv
from somatrace.runtime.clock import clock

WINDOW: Final = 512
#: Tenants with counts of their own; later ones share the counts of `OTHER_TENANTS`.
MAX_TENANTS: Final = 256
OTHER_TENANTS: Final = "others"
#: Different reasons and tenants of spans that were lost before the guard has seen them.
_MAX_UNGUARDED: Final = 1024


@dataclass
class Account:
    """The spans of one tenant."""

    waiting: int = 0
    taken_over: int = 0
    delivered: int = 0
    left: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        """Spans of this process that have ended."""
        return self.waiting + self.delivered + self.left + self.lost.total() - self.taken_over


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
        self._accounts: dict[str, Account] = {}
        self._unguarded: dict[tuple[str, str | None], int] = {}
        #: Spans that wait without the content they had, which was given up to make room.
        self.content_removed = 0
        #: Earlier processes that ended without giving back what they held.
        self.unclean_stops = 0
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

    # -- spans of known tenants --------------------------------------------------------------------------

    def keep(self, tenants: Mapping[str, int]) -> None:
        """Count spans that wait from now on."""
        with self._lock:
            for tenant, spans in tenants.items():
                self._account(tenant).waiting += spans

    def take_over(self, tenants: Mapping[str, int]) -> None:
        """Count spans of an earlier process that wait from now on."""
        with self._lock:
            for tenant, spans in tenants.items():
                account = self._account(tenant)
                account.waiting += spans
                account.taken_over += spans
                self.taken_over += spans

    def leave(self, tenants: Mapping[str, int]) -> None:
        """Count waiting spans that others send, or this process at a later time."""
        with self._lock:
            for tenant, spans in tenants.items():
                account = self._account(tenant)
                account.waiting -= spans
                account.left += spans
                self.left += spans

    def deliver(self, tenants: Mapping[str, int], latency: float) -> None:
        """Count delivered spans. `latency`: seconds from encoding a batch to the target's answer."""
        with self._lock:
            for tenant, spans in tenants.items():
                account = self._account(tenant)
                account.waiting -= spans
                account.delivered += spans
                self.delivered += spans
            self._latencies.append(latency)

    def lose_waiting(self, reason: str, tenants: Mapping[str, int]) -> None:
        """Count waiting spans as lost."""
        with self._lock:
            for tenant, spans in tenants.items():
                account = self._account(tenant)
                account.waiting -= spans
                account.lost[reason] += spans
                self.lost[reason] += spans

    def lose_left(self, reason: str, tenants: Mapping[str, int]) -> None:
        """Count spans as lost that this process had left on disk."""
        with self._lock:
            for tenant, spans in tenants.items():
                account = self._account(tenant)
                account.left -= spans
                account.lost[reason] += spans
                self.left -= spans
                self.lost[reason] += spans

    def lose_ended(self, reason: str, tenants: Mapping[str, int]) -> None:
        """Count spans as lost that have never waited."""
        with self._lock:
            for tenant, spans in tenants.items():
                self._account(tenant).lost[reason] += spans
                self.lost[reason] += spans

    def lose_rest(self, reason: str, *, with_untaken: bool) -> int:
        """Count everything that still waits as lost; return the number of spans.

        `with_untaken`: also what the worker has not taken. Without, it is what threads end at this moment,
        which count it themselves.
        """
        with self._lock:
            rest = self.waiting
            waiting = {tenant: one.waiting for tenant, one in self._accounts.items() if one.waiting > 0}
            known = sum(waiting.values())
            self.lose_waiting(reason, waiting)
            if not with_untaken or rest <= known:
                return known
            self.lose_ended(reason, {semconv.UNKNOWN_TENANT: rest - known})
            return rest

    def tenants(self) -> dict[str, Account]:
        """A copy of the counts by tenant."""
        with self._lock:
            return {name: replace(one, lost=Counter(one.lost)) for name, one in self._accounts.items()}

    def _account(self, tenant: str) -> Account:
        known = self._accounts.get(tenant)
        if known is None:
            if len(self._accounts) >= MAX_TENANTS:
                tenant = OTHER_TENANTS
            known = self._accounts.setdefault(tenant, Account())
        return known

    # -- spans that the guard has not seen ---------------------------------------------------------------

    def lose(self, reason: str, tenant: str | None = None) -> None:
        """Count a span as lost. The tenant's name may hold what must not be shown."""
        with self._lock:
            self.lost[reason] += 1
            try:
                self._unguarded[reason, tenant] += 1
            except KeyError:
                key = (reason, tenant if len(self._unguarded) < _MAX_UNGUARDED else None)
                self._unguarded[key] = self._unguarded.get(key, 0) + 1

    def name_lost(self, guarded: Callable[[str | None], str]) -> None:
        """Count what `lose` has counted for the tenants, too, by the names that the guard gives them."""
        if not self._unguarded:
            return
        with self._lock:
            unguarded, self._unguarded = self._unguarded, {}
        named = [(reason, guarded(tenant), spans) for (reason, tenant), spans in unguarded.items()]
        with self._lock:
            for reason, tenant, spans in named:
                self._account(tenant).lost[reason] += spans

    def evict(self, reason: str, number: int) -> None:
        with self._lock:
            self.evicted[reason] += number

    def evict_all(self, spans: Mapping[str, int]) -> None:
        """`evict`, for several reasons."""
        for reason, number in spans.items():
            self.evict(reason, number)

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
