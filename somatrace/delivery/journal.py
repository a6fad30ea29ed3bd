"""Encoded batches on disk, from before they are sent until the target has answered them.

A record is appended before its batch is sent, and marked as done after the answer. A process may thus be
killed anywhere: what it had not marked is read by the next one of the same service and target, or by
`somatrace drain`. Only a batch that was answered and not marked yet is sent twice.

Which process a segment belongs to is decided by its lock, which the kernel drops with the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from somatrace.delivery.free_segment import free_segment
from somatrace.delivery.journal_directory import directory_of, expired_others, open_segments
from somatrace.delivery.journal_entry import Contents, Entry, HeldSegment, mark_suspect
from somatrace.delivery.restricted import Restricted, packed, unpacked
from somatrace.delivery.spool_room import GivenUp, SpoolRoom
from somatrace.delivery.tenant_shares import Shares, noted
from somatrace.delivery.unclean_stops import UncleanStops
from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import DONE, HEADER_SIZE, RESTRICTED_SPANS, SPANS, marks
from somatrace.spool.segment_writer import full_at
from somatrace.spool.spool_directory import DAY_NS, SEGMENT, file_names, make_room, used_bytes

log = logging.getLogger("somatrace")

#: Seconds before a directory that could not be written is tried again.
_RETRY: Final = 5.0
#: How often a directory that vanishes while it is opened is made again.
_ATTEMPTS: Final = 50
#: Seconds after which a batch that still waits is synced. Most have been answered by then.
SYNC_AFTER: Final = 0.1


class Journal:
    """The segments of this process in one directory. Usable from several threads."""

    def __init__(
        self,
        data_dir: Callable[[], Path | None],
        owner: Mapping[str, str],
        *,
        max_bytes: int,
        max_days: float,
        evicted: Callable[[Mapping[str, int]], None] = lambda _: None,
        on_unclean_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is created yet. `owner` describes the service and the target, without secrets.

        `evicted` is called with the number of spans of earlier processes that were deleted, by reason,
        `on_unclean_stop` when one of those has not left its segments in good order.
        """
        self._data_dir = data_dir
        self._directory: Path | None = None
        self._owner = dict(owner)
        self._max_bytes = max_bytes
        self._max_days = max_days
        self._evicted = evicted
        self._on_unclean_stop = on_unclean_stop
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._current: HeldSegment | None = None
        self._sealed: dict[str, HeldSegment] = {}
        self._unsynced_since: float | None = None
        self._not_before = 0.0
        self._has_expired_others = False
        self._writer = {"writer": os.urandom(8).hex(), "pid": os.getpid(), **self._owner}
        self._room = SpoolRoom(self._writer, self._max_bytes)
        self._stops = UncleanStops(self._writer, self._on_unclean_stop)
        #: How many segments of this process were deleted to make room.
        self.deleted = 0
        #: Why nothing can be written; "" while it can.
        self.problem = ""

    @property
    def full_segments(self) -> int:
        """The number of segments that are full and hold what waits."""
        return len(self._sealed)

    @property
    def retry_in(self) -> float:
        """Seconds until a directory is tried again that could not be written; 0 or less if it is now."""
        return self._not_before - clock.monotonic() if self.problem else 0.0

    def directory(self) -> Path:
        """The directory of this service and target. Raises `OSError` if there is none."""
        if self._directory is None:
            found = self._data_dir()
            if found is None:
                raise OSError("no directory is writable; set it to one that is")
            self._directory = directory_of(found, self._owner)
        return self._directory

    # -- the records of this process ----------------------------------------------------------------

    def add(
        self,
        body: bytes,
        spans: int,
        restricted: Restricted | None = None,
        shares: Shares | None = None,
        *,
        is_late: bool = False,
    ) -> Entry | None:
        """Write a batch, and what each tenant has in it; None if that is not possible now, for the reason in
        `problem`.

        One that `is_late` finds no room at times where others do, which is no problem of theirs.
        """
        now = clock.time_ns()
        note = noted(shares) if shares else None
        beside = 0 if note is None else HEADER_SIZE + len(note)
        kind, record = (SPANS, body) if restricted is None else (RESTRICTED_SPANS, packed(body, restricted))
        with self._lock:
            if self.problem and clock.monotonic() < self._not_before:
                return None
            try:
                segment = self._writable(now, beside + len(record))
                position = segment.file.append(record, spans, now, kind, note=note)
            except (OSError, ValueError) as error:
                if is_late and not self.problem:
                    self._drop_empty()
                    return None
                known, problem = self.problem, self._failed(error)
            else:
                self.problem = ""
                entry = Entry(segment, position, spans, len(body), now, shares or {}, restricted is not None)
                return self._entered(entry)
        if problem != known:
            with contextlib.suppress(Exception):  # without the lock: a handler may ask for the status
                log.warning("%s", problem)
        return None

    def _entered(self, entry: Entry) -> Entry:
        """Count a new record, with the lock held."""
        entry.segment.waiting.add(entry)
        entry.segment.is_synced = False
        if self._unsynced_since is None:
            self._unsynced_since = clock.monotonic()
        return entry

    def read(self, entry: Entry) -> tuple[bytes, Restricted | None] | None:
        """The batch of an entry; None if it is damaged or gone."""
        with self._lock:
            record = entry.segment.file.read(entry.position)
        if record is None or not entry.has_content:
            return None if record is None else (record, None)
        try:
            return unpacked(record)
        except ValueError:
            return None

    def done(self, entries: Iterable[Entry]) -> None:
        """Mark entries that need no more attention."""
        failed = ""
        with self._lock:
            finished: dict[int, list[Entry]] = {}
            for entry in entries:
                finished.setdefault(id(entry.segment), []).append(entry)
            for done in finished.values():
                segment = done[0].segment
                segment.waiting.difference_update(done)
                try:
                    self._mark(segment, [entry.position for entry in done])
                except (OSError, ValueError) as error:  # they are sent again if the process is killed
                    failed = type(error).__name__
        if failed:
            log.debug("could not mark what was delivered: %s", failed)

    def suspect(self, entries: Iterable[Entry]) -> None:
        """Mark entries whose spans were rejected while others were accepted."""
        with self._lock:
            mark_suspect(entries)

    def sync(self, *, now: bool = False) -> float | None:
        """Sync what has waited long enough, or everything; return the seconds until that is due, or None."""
        with self._lock:
            since = self._unsynced_since
            if since is None:
                return None
            left = since + SYNC_AFTER - clock.monotonic()
            if left > 0 and not now:
                return left
            self._unsynced_since = None
            files = [one for one in self._own() if one.waiting and not one.is_synced]
            for segment in files:
                segment.is_synced = True
        for segment in files:  # not with the lock: a disk may take its time
            try:
                segment.file.sync()
            except OSError as error:
                log.debug("could not sync: %s", type(error).__name__)
        return None

    def close(self, timeout: float = 1.0) -> None:
        """Sync what waits and leave it to others, within `timeout` seconds: a disk may take its time."""
        until = clock.monotonic() + timeout
        if self._unsynced_since is not None:
            last = threading.Thread(
                target=self.sync, kwargs={"now": True}, daemon=True, name="somatrace-sync"
            )
            with contextlib.suppress(RuntimeError):  # no more threads: the system writes it later
                last.start()
                last.join(timeout)
        if not self._lock.acquire(timeout=max(0.0, until - clock.monotonic())):
            return  # the end of the process leaves everything too
        try:
            for segment in self._own():
                if segment.waiting:
                    self._let_go(segment)
                else:
                    segment.file.delete()
            self._current = None
            self._sealed.clear()
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Leave everything to the parent, in a forked child."""
        for segment in self._own():
            segment.file.close()
        self._room.forget()
        self._reset()

    def release(self, in_use: Collection[int]) -> set[int]:
        """Leave the full segments to whoever takes them over, which may be this process later.

        `in_use` are the ids of those to keep. Returns those of the others.
        """
        with self._lock:
            released = {name: segment for name, segment in self._sealed.items() if id(segment) not in in_use}
            for name, segment in released.items():
                del self._sealed[name]
                self._room.let_go(name, segment)
                self._let_go(segment)
        return {id(segment) for segment in released.values()}

    # -- a full spool ---------------------------------------------------------------------------------

    def give_up(self, size: int, in_use: Collection[int]) -> GivenUp | None:
        """Rewrite a segment if there is no room for `size` bytes in a new one; None if that is not needed, or
        does not help.

        `in_use` are the ids of segments that stay as they are. The records of this process that have changed
        are to be looked at before the next one is read.
        """
        with self._lock:
            if self._current is not None and self._has_room(self._current, clock.time_ns(), size):
                return None
            current = "" if self._current is None else self._current.file.path.name
            try:
                given = self._room.step(self.directory(), self._sealed, current, in_use, size)
            except FileNotFoundError:  # nothing waits there yet
                return None
            except OSError as error:
                log.debug("could not make room: %s", type(error).__name__)
                return None
            self._sealed = {name: one for name, one in self._sealed.items() if one.waiting}
            if given is not None and given.damaged:
                self._evicted({"damaged": given.damaged})
            return given

    # -- those of processes that have ended ---------------------------------------------------------

    def take_over(self) -> list[Entry]:
        """What waits in the oldest segment that nobody holds, which this process holds from now on."""
        try:
            spool = open_segments(self.directory(), create=False)
        except OSError:
            return []
        try:
            for name in file_names(spool):
                if not name.endswith(SEGMENT) or self._holds(name):
                    continue
                entries = self._taken_over(spool, name)
                if entries:
                    return entries
        except OSError as error:
            log.debug("could not read what waits: %s", type(error).__name__)
        finally:
            os.close(spool)
        return []

    def _taken_over(self, spool: int, name: str) -> list[Entry]:
        free = free_segment(self.directory(), spool, name, self._accepts)
        if free is None:
            return []
        segment, contents, entries = free
        oldest = clock.time_ns() - int(self._max_days * DAY_NS)
        old = [entry for entry in entries if entry.time_ns < oldest]
        self._stops.report(contents, sum(entry.spans for entry in entries))
        gone = Counter(damaged=contents.damaged, age=sum(entry.spans for entry in old))
        if gone := +gone:  # without those that are none
            self._evicted(gone)
        with self._lock:
            self._sealed[name] = segment
            if not entries:
                self._mark(segment, [])
        self.done(old)
        return [entry for entry in entries if entry.time_ns >= oldest]

    def _accepts(self, contents: Contents) -> bool:
        """Whether what is in a segment may be sent to this target."""
        return contents.is_of(self._owner)

    # -- with the lock held -------------------------------------------------------------------------

    def _own(self) -> list[HeldSegment]:
        return [*self._sealed.values(), *([self._current] if self._current is not None else [])]

    def _holds(self, name: str) -> bool:
        with self._lock:
            return any(segment.file.path.name == name for segment in self._own())

    def _writable(self, now: int, size: int) -> HeldSegment:
        segment = self._current
        if segment is not None:
            if self._has_room(segment, now, size):
                return segment
            self._seal(segment)
        self._current = self._opened(now, size)
        return self._current

    def _has_room(self, segment: HeldSegment, now: int, size: int) -> bool:
        return segment.file.has_room(size, full_at(self._max_bytes)) and segment.file.is_usable(now)

    def _seal(self, segment: HeldSegment) -> None:
        self._current = None
        if segment.waiting:
            self._sealed[segment.file.path.name] = segment
        else:
            segment.file.delete()

    def _opened(self, now: int, size: int) -> HeldSegment:
        for _ in range(_ATTEMPTS - 1):
            # `somatrace drain` removes empty directories, at times between two looks at one
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                return self._open(now, size)
        return self._open(now, size)

    def _open(self, now: int, size: int) -> HeldSegment:
        size += HEADER_SIZE + full_at(self._max_bytes)
        self._directory = None  # the whole of it may have been removed since
        spool = open_segments(self.directory(), create=True)
        directory = self.directory()
        try:
            if not self._has_expired_others:
                self._has_expired_others = True
                for deleted in expired_others(directory, now, self._max_days):
                    self._evicted(deleted)
            if deleted := make_room(spool, size, most=self._max_bytes, max_days=self._max_days, now_ns=now):
                self._evicted(deleted)
            while self._sealed and used_bytes(spool) + size > self._max_bytes:
                self._sealed.pop(min(self._sealed)).file.delete()
                self.deleted += 1
            if used_bytes(spool) + size > self._max_bytes:
                raise OSError(f"{self._max_bytes} bytes of spans wait already")
            return HeldSegment(SegmentFile.create(directory, spool, self._writer, now))
        finally:
            os.close(spool)

    def _let_go(self, segment: HeldSegment) -> None:
        segment.leave()

    def _mark(self, segment: HeldSegment, positions: list[int]) -> None:
        if not segment.waiting:
            if segment is self._current:
                segment.file.clear()
            else:
                self._sealed.pop(segment.file.path.name, None)
                segment.file.delete()
            return
        segment.file.append(marks(positions), 0, clock.time_ns(), kind=DONE)

    def _drop_empty(self) -> None:
        if self._current is not None and self._current.file.is_empty:
            self._current.file.delete()
            self._current = None

    def _failed(self, error: Exception) -> str:
        self._drop_empty()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f"{self._directory}: " if self._directory is not None else ""
        self.problem = f"SOMATRACE_DATA_DIR: spans wait in memory only: {where}{reason[:200]}"
        self._not_before = clock.monotonic() + _RETRY
        return self.problem
