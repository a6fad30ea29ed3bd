"""The transport for the local store: batches are appended to files that its readers take in.

The service's own process needs no database for that: `somatrace.local.ingest` decodes and stores what waits,
in `somatrace local` and in whatever else reads the store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from somatrace.delivery.send_result import ACCEPTED, SendResult
from somatrace.delivery.span_count import span_count
from somatrace.local.data_dir import STORE_FILE
from somatrace.spool.segment_writer import SegmentWriter

#: What the files that wait may take of the limit when the store itself is full, until a reader makes room.
_LEAST_SHARE: Final = 4


class LocalTransport:
    """Appends batches to segments in the data directory."""

    def __init__(self, directory: str, max_bytes: int, max_days: float) -> None:
        """Nothing is opened yet."""
        self._directory = Path(directory)
        self._max_bytes = max_bytes
        self._writer = SegmentWriter(self._directory, most=self._most, max_days=max_days)

    def send(self, body: bytes, timeout: float) -> SendResult:  # noqa: ARG002 - a file has no timeout
        try:
            deleted = self._writer.append(body, span_count(body))
        except ValueError as error:  # too large: retrying cannot help
            return SendResult("rejected", f"local store: {error}", names_spans=True)
        except OSError as error:
            return SendResult("retry", f"local store: {type(error).__name__}: {str(error)[:120]}")
        return SendResult("accepted", evicted=deleted) if deleted else ACCEPTED

    def interrupt(self) -> None:
        """Do nothing: writes to a file are not interrupted."""

    def close(self) -> None:
        self._writer.close()

    def _most(self) -> int:
        """The limit on what waits: what the store leaves of the limit on both."""
        stored = sum(_size(self._directory / f"{STORE_FILE}{suffix}") for suffix in ("", "-wal"))
        return max(self._max_bytes - stored, self._max_bytes // _LEAST_SHARE)


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
