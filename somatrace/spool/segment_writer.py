"""Append records to segments. A process writes its own; a forked child begins another one."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from somatrace.runtime.clock import clock
from somatrace.spool.segment_format import SPANS, header_of, opening
from somatrace.spool.spool_directory import (
    MAX_SEGMENT_NS,
    NAME,
    NEW,
    SEGMENT,
    lock,
    make_room,
    new_name,
    open_file,
    open_spool,
)

#: A segment is full at this share of the directory's limit, within bounds: the oldest one is what is deleted.
_SHARE: Final = 256
_SMALLEST, _LARGEST = 1 << 16, 1 << 22


class SegmentWriter:
    """Writes to `<directory>/spool`, which is created with the first record. Used by one thread at a time.

    A record that was appended survives the end of the process, but not that of the machine: nothing is
    synced. `most` returns the limit on the bytes of the whole directory.
    """

    def __init__(self, directory: Path, *, most: Callable[[], int], max_days: float) -> None:
        self._parent = directory
        self._most = most
        self._max_days = max_days
        self._file: int | None = None
        self._writer = ""
        self._pid = 0

    def append(self, payload: bytes, spans: int, *, kind: int = SPANS) -> Counter[str]:
        """Write one record; returns the spans of older segments that made room for it, by reason.

        Raises `OSError` if it was not written, after which nothing of it is left.
        """
        now = clock.time_ns()
        record = header_of(payload, kind=kind, spans=spans, time_ns=now), payload
        deleted: Counter[str] = Counter()
        if not self._is_usable(now):
            self.close()
            deleted = self._open(now, sum(map(len, record)))
        try:
            self._write(record)
        except BaseException:
            self._abandon()
            raise
        self._is_empty = False
        return deleted

    def close(self) -> None:
        """Complete the segment: the next record begins another one."""
        file, self._file = self._file, None
        # the program may have closed every descriptor, as daemons do, and the number is another file now
        if file is not None and _identity(file) == self._identity:
            os.close(file)

    def _identify(self) -> None:
        """Take a random identity; a forked child takes another one."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._writer = os.urandom(8).hex()

    def _is_usable(self, now: int) -> bool:
        """Whether the open segment may take another record."""
        return (
            self._file is not None
            and self._pid == os.getpid()
            and self._size < self._full
            and 0 <= now - self._created < MAX_SEGMENT_NS
            and _identity(self._file) == self._identity == _identity(self._path)
        )

    def _open(self, now: int, size: int) -> Counter[str]:
        self._identify()
        most = self._most()
        self._full = min(_LARGEST, max(_SMALLEST, most // _SHARE))
        spool = open_spool(self._parent, create=True)
        try:
            deleted = make_room(spool, self._full + size, most=most, max_days=self._max_days, now_ns=now)
            while True:
                name = new_name(now, SEGMENT)
                file = open_file(spool, name, NEW)
                # a reader that saw the file before it was locked has deleted it
                if lock(file) and os.fstat(file).st_nlink:
                    break
                os.close(file)
        finally:
            os.close(spool)
        self._file, self._path, self._created = file, self._parent / NAME / name, now
        self._identity = _identity(file)
        self._size, self._is_empty = 0, True
        try:
            self._write((opening(self._writer, self._pid, now),))
        except BaseException:
            self._abandon()
            raise
        return deleted

    def _write(self, parts: Sequence[bytes]) -> None:
        assert self._file is not None
        left = [memoryview(part) for part in parts if part]
        written = 0
        while left:
            count = os.writev(self._file, left)
            written += count
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if count:
                left[0] = left[0][count:]
        self._size += written

    def _abandon(self) -> None:
        """Give up a segment after a failed write, without the part of the record that was written."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                os.ftruncate(self._file, self._size)
                if self._is_empty:
                    self._path.unlink()
        self.close()


def _identity(file: int | Path) -> tuple[int, int] | None:
    try:
        found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
