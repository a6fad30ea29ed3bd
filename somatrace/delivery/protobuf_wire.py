"""The protobuf wire format, as far as OTLP needs it: https://protobuf.dev/programming-guides/encoding/."""

from __future__ import annotations

import struct
from typing import Final

_SHORT: Final = tuple(bytes((number,)) for number in range(128))
fixed64: Final = struct.Struct("<Q").pack
double: Final = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """A number that is not negative: seven bits in each byte, the lowest first."""
    if number < 1 << 7:
        return _SHORT[number]
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    encoded = bytearray()
    while number >> 7:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def int64(number: int) -> bytes:
    """A signed number as a varint of its two's complement; OverflowError if it needs more than 64 bits."""
    if not -(1 << 63) <= number < 1 << 63:
        raise OverflowError("a number of more than 64 bits")
    return varint(number & (1 << 64) - 1)


def delimited(tag: bytes, content: bytes) -> bytes:
    """A field of variable length: a message, a text or bytes."""
    return tag + varint(len(content)) + content


def utf8(text: str) -> bytes:
    """The bytes of a text, with `?` for half a surrogate pair, which protobuf does not allow."""
    return str.encode(text, "utf-8", "replace")
