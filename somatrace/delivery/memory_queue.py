"""Batches that wait in order, as far as they are in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from somatrace.delivery.batch import Batch, tenants_of
from somatrace.delivery.eviction import Places
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.memory_room import give_up, left_to_disk, oldest

if TYPE_CHECKING:
    from somatrace.delivery.journal_entry import Entry

#: The part of the memory that is made free at once when it is full.
_SPARE: Final = 16


class MemoryQueue:
    """Batches that wait, and the one that is taken; above a limit those that are not on disk are lost."""

    def __init__(self, ledger: Ledger, max_bytes: int) -> None:
        self._ledger = ledger
        self._max_bytes = max_bytes
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._waiting: deque[Batch] = deque()
        self._taken: Batch | None = None
        self._bytes = 0
        #: Entries to be marked as done once the lock is free.
        self._done: list[Entry] = []
        self._places = Places()

    @property
    def empty(self) -> bool:
        return not self._waiting and self._taken is None

    @property
    def size(self) -> int:
        """Bytes of the batches in memory."""
        return self._bytes

    @property
    def on_disk(self) -> int:
        """Spans that wait on disk."""
        return sum(batch.spans for batch in self._separate() if batch.is_on_disk)

    def _separate(self) -> list[Batch]:
        return [part for batch in self._all() for part in batch.parts or (batch,)]

    def _all(self) -> list[Batch]:
        # without the lock, which is held while a segment is rewritten: `status` must not wait for a disk
        taken = self._taken
        return [*([taken] if taken is not None else []), *self._waiting.copy()]

    # -- with the lock held -----------------------------------------------------------------------------

    def _forget(self, batch: Batch) -> None:
        self._bytes -= batch.size
        self._settle(batch.entries)

    def _settle(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.is_settled = True
        self._done += entries

    def _make_room(self) -> None:
        """Keep the limit on memory: bytes that are on disk are read again later, others are lost."""
        if self._bytes <= self._max_bytes:
            return
        self._bytes -= left_to_disk(self._waiting, self._bytes - self._max_bytes)
        if (too_much := self._bytes - self._max_bytes) > 0:
            freed = give_up(self._waiting, too_much + self._max_bytes // _SPARE, self._places)
            self._give_up("backend_away", freed.size, freed.spans, freed.without_content)
        self._lose_waiting("backend_away", oldest(self._waiting, self._bytes - self._max_bytes))

    def _give_up(self, reason: str, size: int, spans: Mapping[str, int], without_content: int) -> None:
        """Note that batches have become smaller."""
        self._bytes -= size
        self._waiting = deque(batch for batch in self._waiting if batch.spans)
        self._ledger.lose_waiting(reason, spans)
        self._ledger.count("content_removed", without_content)

    def _lose_waiting(self, reason: str, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        lost = set(batches)
        self._waiting = deque(batch for batch in self._waiting if batch not in lost)
        for batch in batches:
            self._forget(batch)
        self._ledger.lose_waiting(reason, tenants_of(batches))
