"""Count the spans of an encoded request, without parsing them."""

from __future__ import annotations

from typing import Final

#: ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans
_PATH: Final = (0x0A, 0x12, 0x12)


def span_count(body: bytes) -> int:
    """The number of spans in a serialized ExportTraceServiceRequest; 0 for anything else."""
    try:
        return _count(body, 0, len(body), 0)
    except IndexError:
        return 0


def _count(body: bytes, position: int, end: int, level: int) -> int:
    """The spans between two positions. All fields that can be there have a length."""
    wanted, is_span = _PATH[level], level == len(_PATH) - 1
    total = 0
    while position < end:
        key, size = body[position], body[position + 1]
        if size < 128:
            position += 2
        elif (more := body[position + 2]) < 128:
            size = size & 127 | more << 7
            position += 3
        else:
            size, position = _size(body, position + 1)
        if key == wanted:
            total += 1 if is_span else _count(body, position, min(end, position + size), level + 1)
        position += size
    return total


def _size(body: bytes, position: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte = body[position]
        position += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, position
        shift += 7
