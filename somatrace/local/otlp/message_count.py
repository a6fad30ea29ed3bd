"""Counting of messages in protobuf bytes before they are parsed.

A message of two bytes becomes an object of a hundred, so a small body could use gigabytes. The
number of messages is therefore counted before any of them is created. Format: protobuf.dev, "Encoding".
"""

from __future__ import annotations

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def count_upto(body: bytes, path: tuple[int, ...], limit: int) -> int:
    """The number of messages on `path` (field numbers, outermost first), over all levels.

    Stops soon after `limit`. Raises `ValueError` for bytes that are not protobuf, and for groups,
    which OTLP never used and which could hide messages.
    """
    try:
        return _count(body, 0, len(body), path, limit)
    except IndexError:
        raise ValueError("truncated") from None


def _count(body: bytes, start: int, end: int, path: tuple[int, ...], limit: int) -> int:
    total = 0
    position = start
    while position < end and total <= limit:
        key, position = _varint(body, position)
        kind = key & 7
        if kind == _LENGTH:
            size, position = _varint(body, position)
            if key >> 3 == path[0]:
                total += 1
                if len(path) > 1:
                    total += _count(body, position, min(position + size, end), path[1:], limit - total)
            position += size
        elif kind == _VARINT:
            _, position = _varint(body, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a group, or not protobuf")
    return total


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("not protobuf")
