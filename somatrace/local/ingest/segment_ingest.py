"""Take in what services have written to segments: by one reader at a time, exactly once.

The position read is stored in the transaction of the rows, and a segment is deleted only after that. A reader
may thus be killed anywhere: the next one continues.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from somatrace.local.otlp.decode import DecodedSpan, Limits, from_protobuf
from somatrace.local.process_report import decoded
from somatrace.local.store.segment_positions import PositionError
from somatrace.local.store.store import Store
from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import LogOnce
from somatrace.spool.segment_format import SPANS
from somatrace.spool.segment_reader import SegmentRecord, UnknownFormatError, records
from somatrace.spool.spool_directory import NAME, REPORT, SEGMENT, file_names, lock, open_file, open_spool

_LOCK: Final = "ingest.lock"
_TAKEN: Final = ".taken"
#: Bounds of one transaction: another process that writes to the store waits for it.
_SPANS: Final = 2000
_BYTES: Final = 1 << 22
#: Batches come from services of this user, which bound them themselves.
_LIMITS: Final = Limits(spans=1_000_000)
_RETRY: Final = 0.005
_NEVER: Final = 1 << 62
_WARNINGS: Final = 20

#: Yields the spans of a batch, with pauses.
Pace: TypeAlias = Callable[[Iterable[DecodedSpan]], Iterable[DecodedSpan]]


class _Run(NamedTuple):
    """One run: the directory, the monotonic time at which it stops, and its pace."""

    spool: int
    deadline: float
    pace: Pace


class SegmentIngest:
    """Brings the segments of a data directory into its store. Usable from several threads and processes."""

    def __init__(self, store: Store, skipped: Callable[[str], None] | None = None) -> None:
        """`skipped` is called with the reason for each record that cannot be taken in."""
        self._store = store
        self._skipped = skipped
        self._warnings = LogOnce(_WARNINGS)
        self._turn = threading.Lock()
        #: The sizes of segments when they were last read to their ends.
        self._read_to: dict[str, int] = {}

    def waiting(self) -> bool:
        """Whether there is anything that this reader has not seen."""
        try:
            with os.scandir(self._store.directory / NAME) as found:
                return any(self._is_new(entry) for entry in found)
        except OSError:
            return False

    def catch_up(self, seconds: float) -> bool:
        """Take in what waits, if anything does, for up to `seconds`; return whether nothing is left."""
        return not self.waiting() or self.run(seconds)

    def run(self, seconds: float, pace: Pace = iter) -> bool:
        """Take in what waits, for up to `seconds`, and delete complete segments; return whether all is done.

        Never raises: if the store cannot be written, the segments stay for later.
        """
        deadline = clock.monotonic() + seconds
        try:
            with self._alone(deadline) as spool:
                return spool is not None and self._take_in(_Run(spool, deadline, pace))
        except FileNotFoundError:
            return True  # no directory: nothing was ever written
        except (OSError, sqlite3.Error) as error:
            name = type(error).__name__
            self._warnings.warning(
                name, "could not read waiting spans into the local store: %s: %s", name, error
            )
            return False

    def _is_new(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.endswith(SEGMENT):
            try:
                return entry.stat(follow_symlinks=False).st_size > self._read_to.get(entry.name, 0)
            except FileNotFoundError:
                return False
        return entry.name.endswith((REPORT, _TAKEN))

    @contextlib.contextmanager
    def _alone(self, deadline: float) -> Iterator[int | None]:
        """The directory, once no other thread or process reads from it; None if that takes too long."""
        if not self._turn.acquire(timeout=max(0.0, deadline - clock.monotonic())):
            yield None
            return
        with contextlib.ExitStack() as stack:
            stack.callback(self._turn.release)
            spool = open_spool(self._store.directory, create=False)
            stack.callback(os.close, spool)
            guard = open_file(spool, _LOCK, os.O_RDWR | os.O_CREAT)
            stack.callback(_close, guard)
            _held.add(guard)
            while not (locked := lock(guard)) and clock.monotonic() < deadline:
                clock.sleep(_RETRY)
            yield spool if locked else None

    def _take_in(self, run: _Run) -> bool:
        names = file_names(run.spool)
        for name in names:
            if name.endswith((REPORT, _TAKEN)):
                self._take_report(run.spool, name)
        segments = [name for name in names if name.endswith(SEGMENT)]
        positions = self._store.positions()
        gone = positions.keys() - segments
        if gone:
            self._store.forget_segments(gone)
        self._read_to = {name: size for name, size in self._read_to.items() if name in segments}
        for name in segments:
            try:
                file = open_file(run.spool, name, os.O_RDWR)
            except FileNotFoundError:
                continue  # deleted to make room
            except OSError as error:
                self._read_to[name] = _NEVER
                self._skip(name, f"a file that cannot be read ({type(error).__name__})")
                continue
            try:
                if not self._take_segment(run, name, file, positions.get(name, 0)):
                    return False
            except PositionError:
                return False  # the store was replaced meanwhile: the next run reads its positions
            finally:
                os.close(file)
        return True

    def _take_segment(self, run: _Run, name: str, file: int, position: int) -> bool:
        """Take in a segment from `position`, and delete it if it is complete; False if time ran out."""
        # nobody holds the lock of a complete segment, and holding it keeps others from deleting it
        complete = lock(file)
        size = os.fstat(file).st_size
        try:
            found = records(file, position, complete=complete)
            for end, batches in self._chunks(name, found, position):
                paced = [(run.pace(spans), time_ns) for spans, time_ns in batches]
                self._store.ingest(name, position, end, paced)
                position = end
                if clock.monotonic() >= run.deadline:
                    return False
        except UnknownFormatError:
            self._skip(name, "a file of an unknown format")
            complete = False
        self._read_to[name] = size
        if complete:
            os.unlink(name, dir_fd=run.spool)
        return True

    def _chunks(
        self, name: str, found: Iterator[SegmentRecord], start: int
    ) -> Iterator[tuple[int, list[tuple[list[DecodedSpan], int]]]]:
        """Batches for one transaction each, with the position behind them."""
        batches: list[tuple[list[DecodedSpan], int]] = []
        end, spans, size = start, 0, 0
        for record in found:
            batch = self._batch(name, record)
            if batch and record.header is not None:
                batches.append((batch, record.header.time_ns))
                spans += len(batch)
            size += record.end - end
            end = record.end
            if spans >= _SPANS or size >= _BYTES:
                yield end, batches
                batches, spans, size = [], 0, 0
        if size:
            yield end, batches

    def _batch(self, name: str, record: SegmentRecord) -> list[DecodedSpan]:
        if record.header is None or record.payload is None:
            self._skip(name, "a damaged record")
        elif record.header.kind == SPANS:
            try:
                return from_protobuf(record.payload, _LIMITS)
            except ValueError:
                self._skip(name, "an unreadable batch")
        return []

    def _take_report(self, spool: int, name: str) -> None:
        """Store a process's report. It is renamed first, since the process may replace it at any time."""
        taken = name if name.endswith(_TAKEN) else name + _TAKEN
        try:
            if taken != name:
                os.rename(name, taken, src_dir_fd=spool, dst_dir_fd=spool)
            with os.fdopen(open_file(spool, taken, os.O_RDONLY), "rb") as file:
                (service, process), report, time_ns = decoded(file.read(_BYTES))
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            self._skip(name, "an unreadable report")
        else:
            self._store.report(service, process, report, time_ns)
        with contextlib.suppress(OSError):
            os.unlink(taken, dir_fd=spool)

    def _skip(self, name: str, reason: str) -> None:
        self._warnings.warning((name, reason), "local store: skipped %s in %s", reason, name)
        if self._skipped is not None:
            self._skipped(reason)


#: Locks that are held: a forked child would hold them as long as it lives.
_held: set[int] = set()


def _close(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _after_fork_in_child() -> None:
    while _held:
        with contextlib.suppress(OSError):
            os.close(_held.pop())


os.register_at_fork(after_in_child=_after_fork_in_child)
