"""The default target: spans are written directly to the local store, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from somatrace.local.otlp.decode import Limits, from_protobuf
from somatrace.local.store.process_reports import ProcessReport
from somatrace.local.store.store import Store

#: these batches come from this process, which bounds them itself
_LIMITS: Final = Limits(spans=1_000_000)


class LocalSink:
    """Writes OTLP batches of this process to the store in `data_dir`."""

    def __init__(self, data_dir: str, max_bytes: int, max_days: float) -> None:
        """Never fails, since nothing is opened yet."""
        self._store = Store(Path(data_dir), max_bytes, max_days)

    def send(self, body: bytes) -> None:
        """Write an uncompressed ExportTraceServiceRequest; returns when it is stored.

        Raises `OSError` or `sqlite3.Error` for a failure worth retrying, and `ValueError` for an invalid
        body. Sending the same body again changes nothing.
        """
        self._store.add(from_protobuf(body, _LIMITS))

    def report(self, service: str, process: str, report: ProcessReport) -> None:
        """Store a process's latest tracing report; raises `OSError` or `sqlite3.Error` on failure."""
        self._store.report(service, process, report)

    def close(self) -> None:
        self._store.close()
