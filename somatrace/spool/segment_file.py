"""A segment that this process holds: locked, appended to, read back at any position."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from somatrace.spool.segment_format import HEADER_SIZE, NOTE, SPANS, header_of, opening, parsed_header
from somatrace.spool.segment_reader import read_exactly
from somatrace.spool.spool_directory import (
    MAX_SEGMENT_NS,
    NAME,
    NEW,
    SEGMENT,
    UNFINISHED,
    lock,
    new_name,
    open_file,
)

#: macOS has no fdatasync.
_sync: Final = getattr(os, "fdatasync", os.fsync)


class SegmentFile:
    """One open segment. Its lock says that it is in use, until `close` or the end of the process.

    A forked child inherits descriptor and lock, and has to call `close` first of all: otherwise the lock
    would outlive the parent.
    """

    def __init__(self, path: Path, descriptor: int, created_ns: int) -> None:
        """Use an open, locked file; `create` and `take_over` make one."""
        self.path = path
        self.created_ns = created_ns
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._identity = _identity(descriptor)
        self._pid = os.getpid()
        self._start = self.size

    @classmethod
    def create(cls, parent: Path, spool: int, writer: Mapping[str, object], now_ns: int) -> SegmentFile:
        """A new segment in the open directory `spool` of `parent`, which names its writer.

        Raises `OSError`, after which nothing of it is left.
        """
        while True:
            name = new_name(now_ns, SEGMENT)
            descriptor = open_file(spool, name, NEW)
            # a reader that saw the file before it was locked has deleted it
            try:
                if _is_ours(descriptor):
                    break
            except BaseException:  # a file system without locks
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=spool)
                raise
        made = cls(parent / NAME / name, descriptor, now_ns)
        try:
            made._write((opening(writer, now_ns),))
        except BaseException:
            made.delete()
            raise
        made._start = made.size
        return made

    @classmethod
    def take_over(cls, parent: Path, spool: int, name: str, created_ns: int) -> SegmentFile | None:
        """The segment `name`, which its writer has left; None if it is in use or gone. Raises `OSError`."""
        try:
            descriptor = open_file(spool, name, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        if not _is_ours(descriptor):
            return None
        return cls(parent / NAME / name, descriptor, created_ns)

    @property
    def descriptor(self) -> int:
        return self._descriptor

    @property
    def is_held(self) -> bool:
        """Whether it was neither closed nor deleted."""
        return self._descriptor >= 0

    @property
    def is_in_place(self) -> bool:
        """Whether others will find it, which outlives its descriptor."""
        return _identity(self.path) == self._identity

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended to it."""
        return self.size == self._start

    def has_room(self, length: int, most: int) -> bool:
        """Whether it has at most `most` bytes with one more record of `length` bytes."""
        return self.size + HEADER_SIZE + length <= most

    def is_usable(self, now_ns: int) -> bool:
        """Whether it may be appended to: it is this process's, not too old, and still where it was."""
        return (
            self._pid == os.getpid()
            and 0 <= now_ns - self.created_ns < MAX_SEGMENT_NS
            and self._is_open()
            and self.is_in_place
        )

    @classmethod
    def create_instead(cls, old: SegmentFile, spool: int, writer: Mapping[str, object]) -> SegmentFile:
        """A new segment that takes the place of an old one once it is complete, with `replace`.

        Until then nobody takes it for a segment. Raises `OSError`.
        """
        name = f"{old.path.name}{UNFINISHED}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=spool)
        descriptor = open_file(spool, name, NEW)
        if not _is_ours(descriptor):
            raise FileNotFoundError(errno.ENOENT, "the segment was taken for one that nobody completes")
        made = cls(old.path.with_name(name), descriptor, old.created_ns)
        try:
            made._write((opening(writer, old.created_ns),))
        except BaseException:
            made.delete()
            raise
        made._start = made.size
        return made

    def replace(self, old: SegmentFile, spool: int) -> None:
        """Take the place of `old`, which is closed, in one step and not before all is on the disk.

        Raises `OSError`, after which the old one is as before.
        """
        _sync(self._descriptor)
        if not old.is_in_place:
            raise FileNotFoundError(errno.ENOENT, "the segment is gone")
        os.rename(self.path.name, old.path.name, src_dir_fd=spool, dst_dir_fd=spool)
        self.path = old.path
        old.close()

    def append(
        self, payload: bytes, spans: int, now_ns: int, kind: int = SPANS, *, note: bytes | None = None
    ) -> int:
        """Write one record, with a note before it if that is given, and return its position.

        Raises `OSError` or `ValueError` if it was not written, after which nothing of it is left.
        """
        parts = [header_of(payload, kind=kind, spans=spans, time_ns=now_ns), payload]
        before = 0
        if note is not None:
            parts = [header_of(note, kind=NOTE, spans=0, time_ns=now_ns), note, *parts]
            before = HEADER_SIZE + len(note)
        self._check_open()
        position = self.size
        try:
            self._write(parts)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, position)
            self.size = position
            raise
        return position + before

    def read(self, position: int) -> bytes | None:
        """The payload of the record at `position`; None if it is damaged or cannot be read."""
        try:
            if not self._is_open():
                return None
            header = parsed_header(read_exactly(self._descriptor, position, HEADER_SIZE))
            if header is None:
                return None
            payload = read_exactly(self._descriptor, position + HEADER_SIZE, header.length)
        except OSError:
            return None
        return payload if header.fits(payload) else None

    def sync(self) -> None:
        """Wait until everything is on the disk. Raises `OSError`."""
        if self._is_open():
            _sync(self._descriptor)

    def clear(self) -> None:
        """Take all records away. Raises `OSError`."""
        self.cut(self._start)

    def cut(self, end: int) -> None:
        """Take away what is behind a position. Raises `OSError`."""
        self._check_open()
        os.ftruncate(self._descriptor, end)
        self.size = end

    def close(self) -> None:
        """Let go of it: whoever locks it next may read, change and delete it."""
        # the program may have closed every descriptor, as daemons do, and the number is another file now
        if self._is_open():
            os.close(self._descriptor)
        self._descriptor = -1

    def delete(self) -> None:
        """Delete and close it."""
        if self._is_open() and self.is_in_place:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.close()

    def _check_open(self) -> None:
        """Raise `OSError` if the program has closed the descriptor: its number may be another file's now."""
        if not self._is_open():
            raise OSError(errno.EBADF, "the segment is closed")

    def _is_open(self) -> bool:
        return self._descriptor >= 0 and _identity(self._descriptor) == self._identity

    def _write(self, parts: Sequence[bytes]) -> None:
        left = [memoryview(part) for part in parts if part]
        written = 0
        while left:
            count = os.writev(self._descriptor, left)
            written += count
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if count:
                left[0] = left[0][count:]
        self.size += written


def _is_ours(descriptor: int) -> bool:
    """Lock an open file; False if it is in use or deleted. It is closed then, and also if that fails."""
    try:
        is_ours = lock(descriptor) and os.fstat(descriptor).st_nlink > 0
    except BaseException:
        os.close(descriptor)
        raise
    if not is_ours:
        os.close(descriptor)
    return is_ours


def _identity(file: int | Path) -> tuple[int, int] | None:
    try:
        found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
