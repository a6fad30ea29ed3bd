"""The time that a gRPC target asks for: google.rpc.RetryInfo in the details of a status.

The few fields are read here, because the package with their messages is none that somatrace needs otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

#: The trailing metadata with a serialized google.rpc.Status.
KEY: Final = "grpc-status-details-bin"
#: Bytes of details above which they are not read; gRPC itself limits all metadata to 16 KB.
_MOST: Final = 1 << 14
#: Numbers of fields: Status.details, Any.type_url, Any.value, RetryInfo.retry_delay, Duration.
_DETAILS, _TYPE_URL, _VALUE, _RETRY_DELAY, _SECONDS, _NANOS = 3, 1, 2, 1, 1, 2
_RETRY_INFO: Final = b"google.rpc.RetryInfo"
#: google.protobuf.Duration's own limits.
_MAX_SECONDS: Final = 315_576_000_000
_MAX_NANOS: Final = 999_999_999
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


def retry_delay(details: bytes) -> float | None:
    """Seconds of the RetryInfo in a serialized google.rpc.Status, 0 if it names none.

    Returns None if there is no RetryInfo, or the details are malformed or out of the limits of a duration.
    """
    if len(details) > _MOST:
        return None
    try:
        for detail in _messages(details, _DETAILS):
            [type_url] = [*_messages(detail, _TYPE_URL)][-1:] or [b""]
            if type_url.rpartition(b"/")[2] == _RETRY_INFO:
                return _duration([*_messages(detail, _VALUE)])
    except ValueError:
        pass
    return None


def _duration(infos: list[bytes]) -> float:
    delays = [*_messages(infos[-1], _RETRY_DELAY)] if infos else []
    fields = _fields(delays[-1]) if delays else ()
    found = {number: value for number, value in fields if isinstance(value, int)}
    seconds, nanos = found.get(_SECONDS, 0), found.get(_NANOS, 0)
    if seconds > _MAX_SECONDS or nanos > _MAX_NANOS:  # a negative number is a large one on the wire
        raise ValueError("not a duration to wait")
    return seconds + nanos / 1e9


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    """The values of the fields of a number that have a length."""
    return (value for found, value in _fields(message) if found == number and isinstance(value, bytes))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field. Raises `ValueError` if it is none of a message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind, value = key & 7, 0
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if kind == _DELIMITED:
            length, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a kind of field that is not used any more")
        if length > len(message) - position:
            raise ValueError("a field ends behind its message")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number of at most 64 bits, and the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128 and number < 1 << 64:
            return number, position
    raise ValueError("not a number")
