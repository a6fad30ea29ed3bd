"""Read observations from a somatrace store: the embedded one, or one built from the bytes sent."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.langfuse_api import observations
from somatrace.local.otlp.decode import Limits, from_protobuf
from somatrace.local.store.store import Store
from somatrace.smoke.checks import Observation
from somatrace.smoke.outcomes import NotYetError

GROUPS = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"


def from_bytes(sent: bytes, trace_id: str) -> list[Observation]:
    """The observations a backend would show for these serialized exports."""
    with tempfile.TemporaryDirectory(prefix="somatrace-smoke-", ignore_cleanup_errors=True) as name:
        store = Store(Path(name))
        try:
            store.add(from_protobuf(sent, Limits()))
            return _read(store, trace_id)
        finally:
            store.close()


class StoreReader:
    """Reads a trace back from the embedded store in `directory`."""

    def __init__(self, directory: Path, max_bytes: int, max_days: float) -> None:
        self._store = FreshStore(directory, max_bytes, max_days)

    def read(self, trace_id: str, seconds: float) -> list[Observation]:  # noqa: ARG002 - the store limits its own reads
        try:
            return _read(self._store, trace_id)
        except (sqlite3.Error, OSError) as error:
            raise NotYetError(f"local store: {type(error).__name__}") from None

    def close(self) -> None:
        self._store.close()


def _read(store: Store, trace_id: str) -> list[Observation]:
    params = {"traceId": trace_id, "fields": GROUPS, "limit": str(observations.MAX_LIMIT)}
    found: list[dict[str, Any]] = store.read(
        lambda connection: observations.select(connection, observations.parse(params, []))
    )["data"]
    keys = ",".join({key for each in found for key in each["metadata"]})
    whole = observations.parse({**params, "expandMetadata": keys}, [])
    data: list[Observation] = store.read(lambda connection: observations.select(connection, whole))["data"]
    return data
