"""Append records to segments. A process writes its own; a forked child begins another one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import HEADER_SIZE, SPANS
from somatrace.spool.spool_directory import make_room, open_spool

#: A segment has this share of the directory's limit, within bounds: the oldest one is what is deleted.
_SHARE: Final = 256
_SMALLEST, _LARGEST = 1 << 16, 1 << 22


def full_at(most: int) -> int:
    """The bytes that a segment of several records has at most, if its directory may hold `most` bytes."""
    return min(_LARGEST, max(_SMALLEST, most // _SHARE))


class SegmentWriter:
    """Writes to `<directory>/spool`, which is created with the first record. Used by one thread at a time.

    A record that was appended survives the end of the process, but not that of the machine: nothing is
    synced. `most` returns the limit on the bytes of the whole directory.
    """

    def __init__(self, directory: Path, *, most: Callable[[], int], max_days: float) -> None:
        self._parent = directory
        self._most = most
        self._max_days = max_days
        self._file: SegmentFile | None = None
        self._writer = ""
        self._pid = 0
        self._full = 0

    def append(self, payload: bytes, spans: int, *, kind: int = SPANS) -> Counter[str]:
        """Write one record; returns the spans of older segments that made room for it, by reason.

        Raises `OSError` if it was not written, after which nothing of it is left.
        """
        now = clock.time_ns()
        file, deleted = self._file, Counter[str]()
        if file is None or not file.has_room(len(payload), self._full) or not file.is_usable(now):
            self.close()
            file, deleted = self._open(now, HEADER_SIZE + len(payload))
        try:
            file.append(payload, spans, now, kind)
        except BaseException:
            self._file = None
            if file.is_empty:
                file.delete()
            else:
                file.close()
            raise
        return deleted

    def close(self) -> None:
        """Complete the segment: the next record begins another one."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _identify(self) -> None:
        """Take a random identity; a forked child takes another one."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._writer = os.urandom(8).hex()

    def _open(self, now: int, size: int) -> tuple[SegmentFile, Counter[str]]:
        self._identify()
        most = self._most()
        self._full = full_at(most)
        spool = open_spool(self._parent, create=True)
        try:
            deleted = make_room(spool, self._full + size, most=most, max_days=self._max_days, now_ns=now)
            writer = {"writer": self._writer, "pid": self._pid}
            self._file = SegmentFile.create(self._parent, spool, writer, now)
        finally:
            os.close(spool)
        return self._file, deleted
