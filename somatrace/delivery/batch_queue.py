"""The batches that wait: in order, bounded in memory, on disk as far as there is one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from somatrace.delivery.batch import Batch, merged, merges, separated
from somatrace.delivery.journal import Journal
from somatrace.delivery.ledger import Ledger
from somatrace.runtime.clock import clock

#: Bytes of a request above which no further batch is added to it.
_MAX_MERGED: Final = 4 << 20


class BatchQueue:
    """Any thread adds batches; one takes them, and says what became of each before it takes the next.

    With a journal a batch is on disk before it is taken, and in memory only while there is room.
    """

    def __init__(self, ledger: Ledger, journal: Journal | None, *, max_bytes: int, batch_size: int) -> None:
        self.journal = journal
        self._ledger = ledger
        self._max_bytes = max_bytes
        self._batch_size = batch_size
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._waiting: deque[Batch] = deque()
        self._taken: Batch | None = None
        self._bytes = 0

    def forget(self) -> None:
        """Start empty in a forked child: the batches belong to the parent."""
        self._reset()
        if self.journal is not None:
            self.journal.forget()

    @property
    def empty(self) -> bool:
        return not self._waiting and self._taken is None

    @property
    def settled(self) -> bool:
        """Whether no batch of this process waits: those that earlier ones left are in no hurry."""
        return all(batch.is_left for batch in self._all())

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
        with self._lock:
            return [*([self._taken] if self._taken is not None else []), *self._waiting]

    # -- any thread -------------------------------------------------------------------------------------

    def add(self, body: bytes, spans: int) -> None:
        """Write a batch down and keep it; above the limits the oldest ones are lost."""
        deleted = self.journal.deleted if self.journal is not None else 0
        entry = self.journal.add(body, spans) if self.journal is not None else None
        batch = Batch(body, spans, clock.monotonic(), entries=(entry,) if entry is not None else ())
        with self._lock:
            if self.journal is not None and self.journal.deleted > deleted:
                self._lose_waiting([one for one in self._waiting if one.body is None and not one.is_on_disk])
            if entry is not None and self._bytes + len(body) > self._max_bytes:
                batch.body = None
            self._waiting.append(batch)
            self._bytes += batch.size
            self._make_room()

    def add_left(self) -> bool:
        """Add a segment of batches that an earlier process left; return whether there was one."""
        entries = self.journal.take_over() if self.journal is not None else ()
        now = clock.monotonic()
        self._ledger.count("taken_over", sum(entry.spans for entry in entries))
        with self._lock:
            self._waiting += [Batch(None, entry.spans, now, (entry,), is_left=True) for entry in entries]
        return bool(entries)

    def sync(self) -> float | None:
        """Sync what has waited on disk for long enough; return the seconds until that is due, or None."""
        return self.journal.sync() if self.journal is not None else None

    def leave(self) -> int:
        """Leave what is on disk to the next process, for good; return the number of spans."""
        if self.journal is None:
            return 0
        kept = [batch for batch in self._separate() if batch.is_on_disk]
        gone = {
            entry.segment for batch in kept for entry in batch.entries if not entry.segment.file.is_in_place
        }
        spans = sum(
            batch.spans for batch in kept if gone.isdisjoint(entry.segment for entry in batch.entries)
        )
        left = min(spans, self._ledger.waiting)
        self._ledger.count("left", left)
        self.journal.close()
        return left

    # -- the thread that sends --------------------------------------------------------------------------

    def take(self, below: int | None) -> Batch | None:
        """The next batch, together with those behind it that fit into one request; None if there is none.

        `below`: the size in bytes that a request may not reach.
        """
        most = min(_MAX_MERGED, below or _MAX_MERGED)
        with self._lock:
            if not self._waiting:
                return None
            first = self._waiting.popleft()
            together, spans, length = [first], first.spans, first.length
            while self._waiting and merges(first, following := self._waiting[0]):
                spans, length = spans + following.spans, length + following.length
                if spans > self._batch_size or length >= most:
                    break
                together.append(self._waiting.popleft())
            self._taken = first if len(together) == 1 else merged(together)
            return self._taken

    def read(self, batch: Batch) -> bool:
        """Have the bytes of the taken batch in memory; False if some are gone.

        Their spans are lost then, and the others of the batch wait in its place.
        """
        if batch.body is not None:
            return True
        parts = batch.parts or (batch,)
        bodies = [self._read(part) for part in parts]
        found = [body for body in bodies if body is not None]
        if len(found) < len(bodies):
            self._lose_parts([part for part, body in zip(parts, bodies, strict=True) if body is None], parts)
            return False
        with self._lock:
            batch.body = b"".join(found)
            self._bytes += batch.size
        return True

    def _read(self, batch: Batch) -> bytes | None:
        bodies = [self.journal.read(entry) for entry in batch.entries] if self.journal is not None else [None]
        found = [body for body in bodies if body is not None]
        return b"".join(found) if len(found) == len(bodies) else None

    def _lose_parts(self, gone: Sequence[Batch], parts: Sequence[Batch]) -> None:
        with self._lock:
            self._taken = None
            self._waiting.extendleft(part for part in reversed(parts) if part not in gone)
            for part in gone:
                self._forget(part)
        self._ledger.lose("disk", sum(part.spans for part in gone))

    def put_back(self, batch: Batch, *, last: bool = False) -> None:
        """Keep the taken batch for later, in its place or behind all others, in the parts that it had."""
        parts = separated(batch)
        with self._lock:
            self._taken = None
            self._bytes += sum(part.size for part in parts) - batch.size
            if last:
                self._waiting.extend(parts)
            else:
                self._waiting.extendleft(reversed(parts))
            self._make_room()

    def replace(self, batch: Batch, parts: Sequence[tuple[bytes, int]]) -> None:
        """Put parts, with their numbers of spans, in the place of the taken batch."""
        for entry in batch.entries:
            entry.parts += len(parts) - 1
        with self._lock:
            self._taken = None
            self._bytes -= batch.size
            for body, spans in reversed(parts):
                self._waiting.appendleft(replace(batch, body=body, spans=spans, parts=(), is_part=True))
                self._bytes += len(body)
            self._make_room()

    def finish(self, batch: Batch) -> None:
        """Forget the taken batch."""
        with self._lock:
            self._taken = None
            self._forget(batch)

    def lose(self, reason: str, batch: Batch) -> None:
        """Forget the taken batch, and count its spans as lost."""
        self.finish(batch)
        self._ledger.lose(reason, batch.spans)

    # -- with the lock held -----------------------------------------------------------------------------

    def _forget(self, batch: Batch) -> None:
        self._bytes -= batch.size
        if self.journal is not None and batch.entries:
            self.journal.done(batch.entries)

    def _make_room(self) -> None:
        """Keep the limit on memory: bytes that are on disk are read again later, others are lost."""
        if self._bytes <= self._max_bytes:
            return
        for batch in reversed(self._waiting):
            if batch.is_on_disk and not batch.is_part and self._bytes > self._max_bytes:
                self._bytes -= batch.size
                batch.body = None
        too_much, oldest = self._bytes - self._max_bytes, []
        for batch in list(self._waiting)[:-1]:
            if too_much > 0 and batch.size:
                too_much -= batch.size
                oldest.append(batch)
        self._lose_waiting(oldest)

    def _lose_waiting(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        lost = set(batches)
        self._waiting = deque(batch for batch in self._waiting if batch not in lost)
        for batch in batches:
            self._forget(batch)
        self._ledger.lose("backend_away", sum(batch.spans for batch in batches))
