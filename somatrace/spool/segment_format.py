"""The bytes of a segment: a magic word, then records. The first record describes the writer.

A record is a header of 32 bytes and a payload. The header has a checksum of its own, so that damage to a
payload costs that record only, and damage to a header the records up to the next one that is intact.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

#: The first bytes of a file, with the version of the format.
MAGIC: Final = b"SOMASEG1"
#: The first bytes of every record, by which a reader finds the next one after damage.
MARK: Final = b"\xf5\x9cRS"

#: Kinds of records. A reader skips those that it does not know.
WRITER: Final = 0
SPANS: Final = 1
#: The positions of records before it that need no more attention, eight bytes each.
DONE: Final = 2
#: Spans with content, once more without it, and the grants under which the first may leave.
RESTRICTED_SPANS: Final = 3
#: The positions of records before it whose spans the target rejected while it accepted others.
SUSPECT: Final = 4
#: Spans that the target does not accept, and its answer.
DEAD: Final = 5
#: Describes the record of spans behind it: what each tenant has in it.
NOTE: Final = 6
#: The last record of a segment that its process has left in good order.
LEFT: Final = 7
#: What model calls have cost.
LEDGER: Final = 8

#: mark, kind, three reserved bytes, spans, length of the payload, time of writing, checksum of the payload
_FIELDS: Final = struct.Struct("<4sB3xIIQI")
_CHECKSUM: Final = struct.Struct("<I")
HEADER_SIZE: Final = _FIELDS.size + _CHECKSUM.size
#: Larger payloads are refused, so that a length can be judged.
MAX_PAYLOAD: Final = 1 << 30


#: In a record that marks others: the position of each.
_POSITION: Final = struct.Struct("<Q")


class RecordHeader(NamedTuple):
    """What precedes a payload. `time_ns` is the wall time at which the record was written."""

    kind: int
    spans: int
    length: int
    time_ns: int
    checksum: int

    def fits(self, payload: bytes) -> bool:
        """Whether `payload` is the one that was written."""
        return len(payload) == self.length and zlib.crc32(payload) == self.checksum


def header_of(payload: bytes, *, kind: int, spans: int, time_ns: int) -> bytes:
    """The header that is written before `payload`; raises `ValueError` if that is too large."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a record of {len(payload)} bytes is too large")
    fields = _FIELDS.pack(MARK, kind, spans, len(payload), max(0, time_ns), zlib.crc32(payload))
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def parsed_header(header: bytes) -> RecordHeader | None:
    """The fields of an intact header of `HEADER_SIZE` bytes; None for anything else."""
    if len(header) != HEADER_SIZE or not header.startswith(MARK):
        return None
    fields = header[: _FIELDS.size]
    if _CHECKSUM.unpack_from(header, _FIELDS.size)[0] != zlib.crc32(fields):
        return None
    _, kind, spans, length, time_ns, checksum = _FIELDS.unpack(fields)
    return RecordHeader(kind, spans, length, time_ns, checksum) if length <= MAX_PAYLOAD else None


def opening(writer: Mapping[str, object], time_ns: int) -> bytes:
    """The first bytes of a segment: the magic word and the record that describes its writer."""
    payload = json.dumps(writer).encode()
    return MAGIC + header_of(payload, kind=WRITER, spans=0, time_ns=time_ns) + payload


def marks(positions: Iterable[int]) -> bytes:
    """The payload that marks the records at these positions."""
    return b"".join(map(_POSITION.pack, positions))


def positions_in(payload: bytes) -> list[int]:
    """The positions that a payload marks."""
    whole = len(payload) // _POSITION.size * _POSITION.size
    return [position for (position,) in _POSITION.iter_unpack(payload[:whole])]
