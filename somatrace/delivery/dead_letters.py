"""Spans that the target does not accept, kept on disk with its answer.

Segments as in the journal, in a directory of their own for each service and target. A segment is open only
while something is written to it, so that `somatrace drain --dead` can take it at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from somatrace.delivery.journal_directory import directory_of
from somatrace.delivery.restricted import Restricted, packed, unpacked
from somatrace.delivery.send_result import SendResult
from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import DEAD, HEADER_SIZE
from somatrace.spool.segment_reader import spans_in
from somatrace.spool.segment_writer import full_at
from somatrace.spool.spool_directory import (
    created_ns,
    file_names,
    make_room,
    open_directory,
    open_file,
    open_spool,
)

if TYPE_CHECKING:
    from somatrace.delivery.batch import Batch

log = logging.getLogger("somatrace")

#: In the data directory: a directory for each service and target.
DEAD_LETTERS: Final = "dead"
#: The length of the description, which precedes the spans.
_LENGTH: Final = struct.Struct("<I")


class DeadLetter(NamedTuple):
    """What a record says: the answer's status and text, and the spans."""

    status: str
    answer: str
    body: bytes
    restricted: Restricted | None

    def as_record(self) -> bytes:
        """The payload of a record."""
        described = {
            "status": self.status,
            "answer": self.answer,
            "restricted": self.restricted is not None,
        }
        spans = self.body if self.restricted is None else packed(self.body, self.restricted)
        head = json.dumps(described).encode()
        return b"".join((_LENGTH.pack(len(head)), head, spans))


def dead_letter_in(record: bytes) -> DeadLetter:
    """The inverse of `as_record`. Raises ValueError for anything else."""
    if len(record) < _LENGTH.size:
        raise ValueError("too short")
    end = _LENGTH.size + _LENGTH.unpack_from(record)[0]
    described: Any = json.loads(record[_LENGTH.size : end])
    if not isinstance(described, dict):
        raise ValueError("no description")  # noqa: TRY004 - documented
    status, answer = str(described.get("status", "")), str(described.get("answer", ""))
    body, restricted = unpacked(record[end:]) if described.get("restricted") else (record[end:], None)
    return DeadLetter(status, answer, body, restricted)


def dead_letter_count(data_dir: Path) -> int:
    """The number of spans in all dead letters of a data directory, as far as they can be read."""
    spans = 0
    with contextlib.suppress(OSError):
        for directory in (data_dir / DEAD_LETTERS).iterdir():
            with contextlib.suppress(OSError):
                spans += _count_in(directory)
    return spans


def _count_in(directory: Path) -> int:
    os.close(open_directory(directory))
    spool, spans = open_spool(directory, create=False), 0
    try:
        for name in file_names(spool):
            descriptor = open_file(spool, name, os.O_RDONLY)
            try:
                spans += spans_in(descriptor)
            finally:
                os.close(descriptor)
    finally:
        os.close(spool)
    return spans


class DeadLetters:
    """Writes the dead letters of one service and target. Used by one thread."""

    def __init__(
        self,
        data_dir: Callable[[], Path | None],
        owner: Mapping[str, str],
        *,
        max_bytes: int,
        max_days: float,
        evicted: Callable[[Mapping[str, int]], None],
        redact: Callable[[str], str],
    ) -> None:
        """Nothing is created yet. `owner` describes the service and the target, without secrets.

        `evicted` is called with the number of spans that were deleted to keep the limits, by reason.
        `redact` removes secrets and personal data from the text of an answer.
        """
        self._data_dir = data_dir
        self._owner = dict(owner)
        self._max_bytes = max_bytes
        self._max_days = max_days
        self._evicted = evicted
        self._redact = redact
        self.forget()

    def forget(self) -> None:
        """Begin another segment, as a forked child has to."""
        self._name = ""

    def add(self, batch: Batch, result: SendResult) -> bool:
        """Write down a batch in memory and the answer to it; False if that is not possible."""
        assert batch.body is not None
        # an answer may quote what it rejects, and content may leave only with the grants that allow it
        answer = "" if batch.restricted is not None else self._redact(result.answer)
        record = DeadLetter(result.status or "no answer", answer, batch.body, batch.restricted).as_record()
        try:
            self._write(record, batch.spans)
        except (OSError, ValueError) as error:
            log.debug("no dead letter could be written: %s", type(error).__name__)
            return False
        return True

    def expire(self) -> None:
        """Delete what is too old, of every service and target."""
        data_dir = self._data_dir()
        with contextlib.suppress(OSError):
            for directory in (data_dir / DEAD_LETTERS).iterdir() if data_dir is not None else ():
                with contextlib.suppress(OSError):
                    os.close(open_directory(directory))
                    spool = open_spool(directory, create=False)
                    try:
                        self._make_room(spool, 0, most=1 << 62)
                    finally:
                        os.close(spool)

    def _write(self, record: bytes, spans: int) -> None:
        directory = self._directory()
        spool = open_spool(directory, create=True)
        try:
            now = clock.time_ns()
            file = self._reopened(directory, spool, now, len(record))
            if file is None:
                file = self._opened(directory, spool, now, len(record))
            try:
                file.append(record, spans, now, DEAD)
                file.sync()  # before the journal forgets it
            except BaseException:
                if file.is_empty:
                    file.delete()
                raise
            finally:
                file.close()
        finally:
            os.close(spool)

    def _directory(self) -> Path:
        """The directory of this service and target, to which no link leads. Raises `OSError`."""
        data_dir = self._data_dir()
        if data_dir is None:
            raise OSError("no directory is writable")
        directory = directory_of(data_dir, self._owner, DEAD_LETTERS)
        for path in (directory.parent, directory):
            path.mkdir(0o700, exist_ok=True)
            os.close(open_directory(path))
        return directory

    def _reopened(self, directory: Path, spool: int, now: int, size: int) -> SegmentFile | None:
        """The segment that this process has begun, if there is room in it."""
        if not self._name:
            return None
        file = SegmentFile.take_over(directory, spool, self._name, created_ns(self._name) or 0)
        if file is None or (file.has_room(size, full_at(self._max_bytes)) and file.is_usable(now)):
            return file
        file.close()
        return None

    def _opened(self, directory: Path, spool: int, now: int, size: int) -> SegmentFile:
        self._make_room(spool, full_at(self._max_bytes) + HEADER_SIZE + size, most=self._max_bytes)
        writer = {"writer": os.urandom(8).hex(), "pid": os.getpid(), **self._owner}
        file = SegmentFile.create(directory, spool, writer, now)
        self._name = file.path.name
        return file

    def _make_room(self, spool: int, size: int, *, most: int) -> None:
        limits = {"most": most, "max_days": self._max_days, "now_ns": clock.time_ns()}
        deleted: Counter[str] = make_room(spool, size, **limits)  # type: ignore[arg-type]
        if deleted:
            self._evicted(deleted)
