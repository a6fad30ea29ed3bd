"""Where spans go when nothing is configured: straight into the store, without a server between."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from somatrace.local.otlp.decode import Limits, from_protobuf
from somatrace.local.store.process_reports import ProcessReport
from somatrace.local.store.store import Store

#: these bytes come from this process, which bounds them itself
_LIMITS: Final = Limits(spans=1_000_000)


class LocalSink:
    """Takes OTLP batches of this process into the store of `data_dir`."""

    def __init__(self, data_dir: str, max_bytes: int, max_days: float) -> None:
        """Nothing is opened yet, so this never fails."""
        self._store = Store(Path(data_dir), max_bytes, max_days)

    def send(self, body: bytes) -> None:
        """Write an uncompressed ExportTraceServiceRequest; returns when it is in the store.

        Raises `OSError` or `sqlite3.Error` when it is not, and `ValueError` for a body that never
        will be. Sending the same body again changes nothing.
        """
        self._store.add(from_protobuf(body, _LIMITS))

    def report(self, service: str, process: str, report: ProcessReport) -> None:
        """Keep what a process says of its tracing; raises `OSError` or `sqlite3.Error` when it cannot."""
        self._store.report(service, process, report)

    def close(self) -> None:
        self._store.close()
