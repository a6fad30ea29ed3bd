"""The batches that wait: in order, bounded in memory, on disk as far as there is one."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from somatrace.delivery.batch import (
    REJECTED,
    Batch,
    cut,
    enter,
    first_request,
    follow,
    halved,
    in_place,
    in_request,
    left_by_others,
    probe_request,
    record_size,
    separated,
    tenants_of,
)
from somatrace.delivery.late_records import LateRecords
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.memory_queue import MemoryQueue
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.tenant_shares import Shares, divided
from somatrace.runtime.clock import clock

if TYPE_CHECKING:
    from somatrace.delivery.journal import Journal
    from somatrace.delivery.journal_entry import Entry
    from somatrace.delivery.spool_room import GivenUp

log = logging.getLogger("somatrace")

#: Batches in the queue above which those in full segments are set aside: an hour has 36,000.
MAX_WAITING: Final = 8192
#: Full segments, each of which takes a descriptor, above which that happens too.
MAX_SEGMENTS: Final = 32
#: Seconds that a batch waits at most until there is room for it on a full disk. After that the oldest
#: segments are deleted, whatever is in them.
MAX_MAKING_ROOM: Final = 1.0
#: Bytes of a request above which no further batch is added to it.
_MAX_MERGED: Final = 4 << 20


class BatchQueue(MemoryQueue):
    """Any thread adds batches; one takes them, and says what became of each before it takes the next.

    With a journal a batch is on disk before it is taken, and in memory only while there is room.
    """

    def __init__(
        self,
        ledger: Ledger,
        open_journal: Callable[[], Journal] | None = None,
        *,
        max_bytes: int,
        batch_size: int,
        allows: Callable[[str, str], bool] = lambda tenant, fingerprint: False,  # noqa: ARG005
    ) -> None:
        """`open_journal` is called with the first batch. `batch_size`: the spans of a request, at most.

        `allows` tells whether a tenant's grant, given by its fingerprint, is in force now.
        """
        #: None before the first batch, or if batches wait in memory only.
        self.journal: Journal | None = None
        self._open_journal = open_journal
        self._allows = allows
        self.batch_size = batch_size
        super().__init__(ledger, max_bytes)

    def _reset(self) -> None:
        super()._reset()
        #: Spans that wait on disk and are not in the queue.
        self._aside = 0
        self._late = LateRecords()

    def forget(self) -> None:
        """Start empty in a forked child: the batches belong to the parent."""
        self._reset()
        if self.journal is not None:
            self.journal.forget()

    @property
    def settled(self) -> bool:
        """Whether no batch of this process waits: those that earlier ones left are in no hurry."""
        return not self._aside and all(batch.is_left for batch in self._all())

    @property
    def has_set_aside(self) -> bool:
        """Whether spans of this process wait on disk that are not in the queue."""
        return self._aside > 0

    # -- any thread -------------------------------------------------------------------------------------

    def add(
        self, body: bytes, spans: int, restricted: Restricted | None = None, shares: Shares | None = None
    ) -> None:
        """Write a batch down and keep it; above the limits others are lost.

        `shares` is what each tenant has in it.
        """
        journal = self._opened()
        batch = Batch(body, spans, clock.monotonic(), shares or {}, restricted=restricted)
        batch.entries = self._written(batch)
        self._ledger.keep(batch.tenants)
        with self._lock:
            if batch.entries and self._bytes + batch.size > self._max_bytes:
                batch.body = batch.restricted = None
            self._waiting.append(batch)
            self._bytes += batch.size
            self._make_room()
            if journal is not None and (
                len(self._waiting) > MAX_WAITING or journal.full_segments > MAX_SEGMENTS
            ):
                self._set_aside(journal)
        self._mark_done()

    def _written(self, batch: Batch, *, is_late: bool = False) -> tuple[Entry, ...]:
        """Write a batch, for which tenants that have much on disk give up some of it if that is full."""
        journal = self.journal
        if journal is None or batch.body is None:
            return ()
        size = record_size(batch)
        until = clock.monotonic() + MAX_MAKING_ROOM
        while clock.monotonic() < until:
            with self._lock:
                taken = () if self._taken is None else self._taken.entries
                given = journal.give_up(size, {id(entry.segment) for entry in taken})
                if given is None:
                    break
                self._follow(given)
        deleted = journal.deleted
        entry = journal.add(batch.body, batch.spans, batch.restricted, batch.shares, is_late=is_late)
        if journal.deleted > deleted:
            with self._lock:
                gone = [one for one in self._waiting if one.body is None and not one.is_on_disk]
                self._lose_waiting("spool_full", gone)
        if entry is None:
            self._late.are_missing = True
            return ()
        return (entry,)

    def _follow(self, given: GivenUp) -> None:
        """Have batches agree with their records on disk, with the lock held."""
        changed = [one for one in self._waiting if one.entries and one.entries[0] in given.changed]
        self._give_up("spool_full", sum(map(follow, changed)), given.spans, given.without_content)
        self._ledger.lose_left("spool_full", given.own_left)
        self._aside -= given.own_left.total()
        self._ledger.take_over(given.of_others)
        self._ledger.lose_waiting("spool_full", given.of_others)

    def add_left(self) -> bool:
        """Add a segment of batches that an earlier process left; return whether there was one."""
        journal = self._opened()
        entries = journal.take_over() if journal is not None else ()
        batches = [left_by_others(entry, clock.monotonic()) for entry in entries]
        self._ledger.take_over(tenants_of(batches))
        self._aside = max(0, self._aside - sum(entry.spans for entry in entries)) if entries else 0
        with self._lock:
            self._waiting += batches
        return bool(entries)

    def _opened(self) -> Journal | None:
        if self.journal is None and self._open_journal is not None:
            self.journal = self._open_journal()
        return self.journal

    def sync(self) -> float | None:
        """Write what could not be written before, and sync what has waited on disk for long enough.

        Returns the seconds until one of the two is due, or None.
        """
        if self.journal is None:
            return None
        write = self._late.step(self.journal, self._unwritten, self._write_late)
        sync = self.journal.sync()
        return sync if write is None else write if sync is None else min(write, sync)

    def _unwritten(self) -> list[Batch]:
        with self._lock:
            return [one for one in self._separate() if not one.entries and one.body]

    def _write_late(self, batch: Batch) -> bool:
        """Write a batch that may be sent, answered or changed meanwhile; return whether there was room."""
        body, restricted = batch.body, batch.restricted
        entries = self._written(batch, is_late=True)
        with self._lock:
            is_same = batch.body is body and batch.restricted is restricted
            if is_same and (batch in self._waiting or batch in in_request(self._taken)):
                enter(batch, entries, self._taken)
            else:
                self._settle(entries)
        if batch.is_suspect:
            self._mark_suspect([batch])
        self._mark_done()
        return bool(entries)

    def leave(self, timeout: float) -> int:
        """Leave what is on disk to the next process, for good, within seconds; return the number of spans."""
        if self.journal is None:
            return 0
        found = tenants_of(in_place(self._separate()))
        # a batch may have been answered meanwhile
        left, _ = divided(found, min(sum(found.values()), self._ledger.waiting))
        self._ledger.leave(left)
        self.journal.close(timeout)
        return sum(left.values()) + self._aside

    # -- the thread that sends --------------------------------------------------------------------------

    def take(self, below: int | None, *, is_probe: bool = False) -> Batch | None:
        """The next batch, together with those behind it that fit into one request; None if there is none.

        `below`: the size in bytes that a request may not reach. A probe is one small batch.
        """
        most = min(_MAX_MERGED, below or _MAX_MERGED)
        with self._lock:
            if self._taken is not None:  # an exception has kept the sender from saying what became of it
                return self._taken
            if not self._waiting:
                return None
            self._taken = (
                probe_request(self._waiting)
                if is_probe
                else first_request(self._waiting, self.batch_size, most)
            )
            return self._taken

    def read(self, batch: Batch) -> bool:
        """Have what may leave of the taken batch in memory; False if some of it is gone.

        Those spans are lost then, and the others of the batch wait in its place.
        """
        before, body, restricted = batch.size, batch.body, batch.restricted
        if body is None:
            parts = batch.parts or (batch,)
            read = [self._read(part) for part in parts]
            found = [one for one in read if one is not None]
            if len(found) < len(read):
                self._lose_parts([part for part, one in zip(parts, read, strict=True) if one is None], parts)
                return False
            body, restricted = b"".join([one for one, _ in found]), found[0][1]
        if restricted is not None and not restricted.is_allowed(self._allows):
            body, restricted = restricted.without_content, None
            log.info("the content of %d spans is removed: what allowed it has ended", batch.spans)
        with self._lock:
            batch.body, batch.restricted = body, restricted
            self._bytes += batch.size - before
        return True

    def _read(self, batch: Batch) -> tuple[bytes, Restricted | None] | None:
        """The bytes of a batch that is one record, from the disk."""
        (entry,) = batch.entries
        return self.journal.read(entry) if self.journal is not None else None

    def _lose_parts(self, gone: Sequence[Batch], parts: Sequence[Batch]) -> None:
        with self._lock:
            self._taken = None
            self._waiting.extendleft(part for part in reversed(parts) if part not in gone)
            for part in gone:
                self._forget(part)
        self._mark_done()
        self._ledger.lose_waiting("disk", tenants_of(gone))

    def put_back(self, batch: Batch, *, last: bool = False) -> None:
        """Keep the taken batch for later, in its place or behind all others, in the parts that it had."""
        parts = separated(batch)
        with self._lock:
            self._taken = None
            self._bytes += sum(part.size for part in parts if part is not batch)
            self._bytes -= batch.size if batch.parts else 0
            if last:
                self._waiting.extend(parts)
            else:
                self._waiting.extendleft(reversed(parts))
            self._make_room()
        self._mark_done()

    def split(self, batch: Batch, most: int | None = None) -> bool:
        """Put two halves, or pieces of at most `most` spans, in the place of the taken batch.

        Returns False if it cannot be split.
        """
        made = halved(batch) if most is None else cut(batch, most)
        if len(made) < 2:
            return False
        for half in made:  # with a record of its own: the other half may be answered first
            half.entries = self._written(half)
        with self._lock:
            self._taken = None
            self._forget(batch)
            self._waiting.extendleft(reversed(made))
            self._bytes += sum(half.size for half in made)
            self._make_room()
        if batch.is_suspect:
            self._mark_suspect(made)
        self._mark_done()
        return True

    def try_others(self) -> bool:
        """Have what was rejected wait behind all others, and halves of it between; False if that is all."""
        with self._lock:
            self._waiting = deque(sorted(self._waiting, key=lambda one: one.doubts))  # in order, among equals
            return bool(self._waiting) and self._waiting[0].doubts < REJECTED

    def suspect_rejected(self) -> None:
        """Note that others than those that were rejected are accepted: the configuration is right."""
        with self._lock:
            found = [batch for batch in self._waiting if batch.rejections or batch.is_half]
            for batch in found:
                batch.is_suspect = True
        self._mark_suspect(found)

    def _mark_suspect(self, batches: Sequence[Batch]) -> None:
        """Note it on disk, for whoever takes them over."""
        entries = [entry for batch in batches for entry in batch.entries if not entry.is_suspect]
        if entries and self.journal is not None:
            self.journal.suspect(entries)

    def finish(self, batch: Batch) -> None:
        """Forget the taken batch."""
        with self._lock:
            self._taken = None
            self._forget(batch)
        self._mark_done()

    def _mark_done(self) -> None:
        """Mark on disk what was forgotten, without the lock: `status` must not wait for a disk."""
        with self._lock:
            done, self._done = self._done, []
        if done and self.journal is not None:
            self.journal.done(done)

    def lose(self, reason: str, batch: Batch) -> None:
        """Forget the taken batch, and count its spans as lost."""
        self.finish(batch)
        self._ledger.lose_waiting(reason, batch.tenants)

    # -- with the lock held -----------------------------------------------------------------------------

    def _set_aside(self, journal: Journal) -> None:
        """Forget batches in full segments: they count as left, and are taken over when the rest is sent."""
        in_use = () if self._taken is None else self._taken.entries
        released = journal.release({id(entry.segment) for entry in in_use})
        aside = [
            batch for batch in self._waiting if batch.entries and id(batch.entries[0].segment) in released
        ]
        chosen = set(map(id, aside))
        self._waiting = deque(batch for batch in self._waiting if id(batch) not in chosen)
        self._bytes -= sum(batch.size for batch in aside)
        self._aside += sum(batch.spans for batch in aside)
        self._ledger.leave(tenants_of(aside))
