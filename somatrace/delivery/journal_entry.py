"""The records of a journal's segments, and which of them still wait."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import DONE, HEADER_SIZE, RESTRICTED_SPANS, SPANS, parsed_header
from somatrace.spool.segment_reader import read_exactly, records

#: In a record that marks others as done: the position of each.
POSITION: Final = struct.Struct("<Q")


class HeldSegment:
    """A segment that this process holds, and how many of its records wait."""

    __slots__ = ("file", "is_synced", "pending")

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.pending = 0
        self.is_synced = True


@dataclass(eq=False)
class Entry:
    """A record that waits. `parts`: how many batches its spans are in; it is done when all of them are."""

    segment: HeldSegment
    position: int
    spans: int
    size: int
    time_ns: int
    has_content: bool = False
    parts: int = 1


def entries_of(segment: HeldSegment) -> tuple[list[Entry], int]:
    """The records of a complete segment that are not marked as done, which `segment` counts from now on.

    The number is that of spans in damaged records, each of which counts once if its header is lost. A torn
    record at the end is cut off: what was appended behind it would be read as a part of it.
    Raises `OSError` or `UnknownFormatError`.
    """
    entries: dict[int, Entry] = {}
    damaged = end = 0
    for record in records(segment.file.descriptor, complete=True):
        header, payload, end = record
        if header is None:
            damaged += 1
        elif payload is None:
            damaged += header.spans
        elif header.kind in (SPANS, RESTRICTED_SPANS):
            position = end - header.length - HEADER_SIZE
            has_content = header.kind == RESTRICTED_SPANS
            entries[position] = Entry(
                segment, position, header.spans, header.length, header.time_ns, has_content=has_content
            )
        elif header.kind == DONE:
            for start in range(0, len(payload) - POSITION.size + 1, POSITION.size):
                entries.pop(POSITION.unpack_from(payload, start)[0], None)
    if end < segment.file.size:
        damaged += _torn_spans(segment.file, end)
        segment.file.cut(end)
    segment.pending = len(entries)
    return list(entries.values()), damaged


def _torn_spans(file: SegmentFile, position: int) -> int:
    """The spans of an incomplete record, which its header tells if that is complete."""
    header = parsed_header(read_exactly(file.descriptor, position, HEADER_SIZE))
    return header.spans if header is not None else 0
