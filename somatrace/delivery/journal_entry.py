"""The records of a journal's segments, and which of them still wait."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import (
    DONE,
    HEADER_SIZE,
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
    """A segment that this process holds, and how many of its records wait."""

    __slots__ = ("file", "is_synced", "pending")

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.pending = 0
        self.is_synced = True


@dataclass(eq=False)
class Entry:
    """A record that waits."""

    segment: HeldSegment
    position: int
    spans: int
    size: int
    time_ns: int
    has_content: bool = False
    #: Its spans were rejected while others were accepted.
    is_suspect: bool = False


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
    waiting: dict[int, RecordHeader] = {}
    suspects: set[int] = set()
    damaged = end = 0
    for record in records(descriptor, complete=complete):
        header, payload, end = record
        if header is None:
            damaged += 1
        elif payload is None:
            damaged += header.spans
        elif header.kind in (SPANS, RESTRICTED_SPANS):
            waiting[end - header.length - HEADER_SIZE] = header
        elif header.kind == WRITER:
            writer = _described(payload)
        elif header.kind == DONE:
            for place in positions_in(payload):
                waiting.pop(place, None)
        elif header.kind == SUSPECT:
            suspects.update(positions_in(payload))
    torn = parsed_header(read_exactly(descriptor, end, HEADER_SIZE)) if complete else None
    damaged += torn.spans if torn is not None else 0
    return Contents(writer, waiting, damaged, end, frozenset(suspects))


def entries_of(segment: HeldSegment, contents: Contents) -> list[Entry]:
    """The records of a complete segment that wait, which `segment` counts from now on.

    A torn record at the end is cut off: what was appended behind it would be read as a part of it.
    """
    if contents.end < segment.file.size:
        segment.file.cut(contents.end)
    segment.pending = len(contents.waiting)
    return [
        Entry(
            segment,
            position,
            header.spans,
            header.length,
            header.time_ns,
            has_content=header.kind == RESTRICTED_SPANS,
            is_suspect=position in contents.suspects,
        )
        for position, header in contents.waiting.items()
    ]


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
