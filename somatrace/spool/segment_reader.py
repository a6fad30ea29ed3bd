"""Read the records of a segment from any position, past damage and up to a torn end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from somatrace.spool.segment_format import (
    DONE,
    HEADER_SIZE,
    MAGIC,
    MARK,
    RecordHeader,
    parsed_header,
    positions_in,
)

_PIECE: Final = 1 << 16


class UnknownFormatError(ValueError):
    """The file is no segment, or one of a format that this version does not read."""


class SegmentRecord(NamedTuple):
    """One record and the position behind it. A damaged one has no payload; its header may be lost, too."""

    header: RecordHeader | None
    payload: bytes | None
    end: int


def records(descriptor: int, start: int = 0, *, complete: bool) -> Iterator[SegmentRecord]:
    """Yield the records from position `start`, which is 0 or the end of an earlier record.

    A torn record at the end is left out. With `complete`, nobody will append to the file, so that an end
    which is not the beginning of a record is damage; otherwise it may be one that is being written.
    Raises `UnknownFormatError` or `OSError`.
    """
    size = os.fstat(descriptor).st_size
    position = start
    if not start:
        magic = read_exactly(descriptor, 0, min(size, len(MAGIC)))
        if not MAGIC.startswith(magic):
            raise UnknownFormatError("not a segment")
        position = len(MAGIC)
    while position + HEADER_SIZE <= size:
        header = parsed_header(read_exactly(descriptor, position, HEADER_SIZE))
        if header is None:
            found = _next_header(descriptor, position + 1, size)
            if found is None and not complete:
                return
            position = size if found is None else found
            yield SegmentRecord(None, None, position)
            continue
        end = position + HEADER_SIZE + header.length
        if end > size:
            return
        payload = read_exactly(descriptor, position + HEADER_SIZE, header.length)
        yield SegmentRecord(header, payload if header.fits(payload) else None, end)
        position = end


def spans_in(descriptor: int) -> int:
    """The number of spans in the complete records of a segment that are not marked as done, without reading
    them; 0 for other files."""
    size = os.fstat(descriptor).st_size
    if read_exactly(descriptor, 0, len(MAGIC)) != MAGIC:
        return 0
    position, spans = len(MAGIC), dict[int, int]()
    while header := parsed_header(read_exactly(descriptor, position, HEADER_SIZE)):
        end = position + HEADER_SIZE + header.length
        if end > size:
            break
        if header.kind == DONE:
            for done in positions_in(read_exactly(descriptor, position + HEADER_SIZE, header.length)):
                spans.pop(done, None)
        else:
            spans[position] = header.spans
        position = end
    return sum(spans.values())


def _next_header(descriptor: int, position: int, size: int) -> int | None:
    """The position of the next intact header from `position` on."""
    while position + HEADER_SIZE <= size:
        piece = read_exactly(descriptor, position, min(_PIECE, size - position))
        place = piece.find(MARK)
        while place >= 0:
            if parsed_header(read_exactly(descriptor, position + place, HEADER_SIZE)) is not None:
                return position + place
            place = piece.find(MARK, place + 1)
        # a mark may lie across the end of a piece
        position += max(1, len(piece) - len(MARK) + 1)
    return None


def read_exactly(descriptor: int, position: int, length: int) -> bytes:
    """Exactly `length` bytes, or fewer at the end of the file."""
    parts = []
    while length > 0:
        part = os.pread(descriptor, length, position)
        if not part:
            break
        parts.append(part)
        position += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
