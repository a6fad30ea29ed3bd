"""The records of a journal's segments, and which of them still wait."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from somatrace.delivery.tenant_shares import Shares, parsed
from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import (
    DONE,
    HEADER_SIZE,
    LEFT,
    NOTE,
    RESTRICTED_SPANS,
    SPANS,
    SUSPECT,
    WRITER,
    RecordHeader,
    marks,
    parsed_header,
    positions_in,
)
from somatrace.spool.segment_reader import read_exactly, records


class HeldSegment:
    """A segment that this process holds, and its records that wait."""

    __slots__ = ("file", "is_synced", "left_at", "waiting", "was_left")

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.waiting: set[Entry] = set()
        self.is_synced = True
        #: Whether the process that held it before has left it in good order, if there was one.
        self.was_left = True
        #: Its size then.
        self.left_at = -1

    def leave(self) -> None:
        """Leave it to others, in good order."""
        if self.file.size != self.left_at:
            with contextlib.suppress(OSError, ValueError):
                self.file.append(b"", 0, clock.time_ns(), LEFT)
        self.file.close()


@dataclass(eq=False)
class Entry:
    """A record that waits."""

    segment: HeldSegment
    position: int
    spans: int
    size: int
    time_ns: int
    #: Empty if nobody has noted them.
    shares: Shares = field(default_factory=dict)
    has_content: bool = False
    #: Its spans were rejected while others were accepted.
    is_suspect: bool = False
    #: Nobody needs it any more, and it is about to be marked as done.
    is_settled: bool = False


class Contents(NamedTuple):
    """What is in a segment: who wrote it, the records by position that are not marked as done, and damage.

    `writer` is empty if that record is lost. `damaged` is the number of spans in damaged records, each of
    which counts once if its header is lost.
    """

    writer: Mapping[str, object]
    waiting: Mapping[int, RecordHeader]
    damaged: int
    #: The position behind the last record that is complete.
    end: int
    #: What each tenant has in the records that wait, by position, where that was noted.
    shares: Mapping[int, Shares]
    #: Whether the process that has written it has left it in good order.
    is_left: bool
    #: The positions of those that were rejected while others were accepted.
    suspects: frozenset[int] = frozenset()

    def is_of(self, owner: Mapping[str, str]) -> bool:
        """Whether it may have been written for this service and target."""
        return not self.writer or all(self.writer.get(key) == value for key, value in owner.items())


def contents_of(descriptor: int, *, complete: bool) -> Contents:
    """Read a segment, to which nobody appends if it is `complete`.

    Raises `OSError` or `UnknownFormatError`.
    """
    writer: Mapping[str, object] = {}
    found: dict[int, RecordHeader] = {}
    shares: dict[int, Shares] = {}
    done: set[int] = set()
    suspects: set[int] = set()
    damaged = end = 0
    note, is_left = b"", False
    for record in records(descriptor, complete=complete):
        header, payload, end = record
        before, note = note, b""
        is_left = header is not None and header.kind == LEFT
        if header is None:
            damaged += 1
        elif payload is None:
            damaged += header.spans
        elif header.kind in (SPANS, RESTRICTED_SPANS):
            position = end - header.length - HEADER_SIZE
            found[position] = header
            shares[position] = parsed(before)
        elif header.kind == NOTE:
            note = payload
        elif header.kind == WRITER:
            writer = _described(payload)
        elif header.kind == DONE:
            done.update(positions_in(payload))
        elif header.kind == SUSPECT:
            suspects.update(positions_in(payload))
    torn = parsed_header(read_exactly(descriptor, end, HEADER_SIZE)) if complete else None
    damaged += torn.spans if torn is not None else 0
    waiting = {position: header for position, header in found.items() if position not in done}
    return Contents(writer, waiting, damaged, end, shares, is_left, frozenset(suspects))


def entries_of(segment: HeldSegment, contents: Contents) -> list[Entry]:
    """The records of a complete segment that wait, which `segment` counts from now on.

    A torn record at the end is cut off: what was appended behind it would be read as a part of it.
    """
    if contents.end < segment.file.size:
        segment.file.cut(contents.end)
    entries = [
        Entry(
            segment,
            position,
            header.spans,
            header.length,
            header.time_ns,
            has_content=header.kind == RESTRICTED_SPANS,
            is_suspect=position in contents.suspects,
            shares=contents.shares.get(position, {}),
        )
        for position, header in contents.waiting.items()
    ]
    segment.waiting.update(entries)
    segment.was_left = contents.is_left
    segment.left_at = segment.file.size if contents.is_left else -1
    return entries


def mark_suspect(entries: Iterable[Entry]) -> None:
    """Note on disk that the spans of entries were rejected while others were accepted.

    If that fails, whoever takes them over finds out again.
    """
    for segment, group in itertools.groupby(entries, key=lambda entry: entry.segment):
        found = list(group)
        with contextlib.suppress(OSError, ValueError):
            places = marks(entry.position for entry in found)
            segment.file.append(places, 0, clock.time_ns(), kind=SUSPECT)
            for entry in found:
                entry.is_suspect = True


def _described(payload: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
