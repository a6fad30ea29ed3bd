"""The span store: one SQLite file that several processes read and write, with limits on size and age."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from somatrace.local.otlp import observation
from somatrace.local.otlp.decode import DecodedSpan, SpanOrigin
from somatrace.local.otlp.observation_parts import compact
from somatrace.local.otlp.row import SpanRow
from somatrace.local.store import (
    arrivals,
    bulk,
    process_reports,
    retention,
    segment_positions,
    trace_rollup,
)
from somatrace.local.store.database import Database, Result
from somatrace.runtime.clock import clock

DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
DEFAULT_MAX_DAYS: Final = 7.0

_COLUMNS: Final = (*SpanRow._fields, "origin", "received_ns")
_SPANS: Final = f"INTO spans ({', '.join(_COLUMNS)})"
_KEEP_ORIGIN: Final = (
    "INSERT INTO origins (id, seen_ns, metadata) VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET seen_ns = max(seen_ns, excluded.seen_ns)"
)


class Store:
    """The spans of one data directory. Methods raise `sqlite3.Error` or `OSError` within about two seconds.

    Safe to use from several threads and processes, and across forks.
    """

    def __init__(
        self, directory: Path, max_bytes: int = DEFAULT_MAX_BYTES, max_days: float = DEFAULT_MAX_DAYS
    ) -> None:
        """Opens nothing yet. Over `max_bytes` or `max_days`, the oldest traces are deleted first."""
        self.directory = directory
        self.max_bytes = max_bytes
        self.max_days = max_days
        self._database = Database(directory)

    def add(self, spans: Iterable[DecodedSpan]) -> int:
        """Write `spans` in one transaction and return their number; existing ones are replaced."""
        batch = _Batch(spans, clock.time_ns())

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            batch.write(connection)
            connection.execute("COMMIT")
            self._enforce_limits(connection)

        if batch.rows:
            self._database.run(write)
        return len(batch.rows)

    def positions(self) -> dict[str, int]:
        """How much of each segment the store contains, by name."""
        return self._database.run(segment_positions.read)

    def ingest(
        self, segment: str, start: int, end: int, batches: Iterable[tuple[Iterable[DecodedSpan], int]]
    ) -> None:
        """Write the spans of a segment between two positions, each batch with the time it was written.

        The rows and the new position are one transaction. Raises `PositionError` if the store does not
        contain exactly what is before `start`, in addition to what `add` raises.
        """
        prepared = [_Batch(spans, received_ns) for spans, received_ns in batches]

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            segment_positions.advance(connection, segment, start, end)
            for batch in prepared:
                if batch.rows:
                    batch.write(connection)
            connection.execute("COMMIT")
            self._enforce_limits(connection)

        self._database.run(write)

    def forget_segments(self, names: Iterable[str]) -> None:
        """Drop the positions of segments that have been deleted."""
        self._database.run(lambda connection: segment_positions.forget(connection, names))

    def report(
        self,
        service: str,
        process: str,
        report: process_reports.ProcessReport,
        seen_ns: int | None = None,
    ) -> None:
        """Store the latest tracing report of a process, replacing its previous one."""
        now = clock.time_ns() if seen_ns is None else seen_ns

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            process_reports.keep(connection, (service, process), report, now_ns=now, max_days=self.max_days)
            connection.execute("COMMIT")

        self._database.run(write)

    def delete(self, trace_id: str, span_id: str | None = None) -> int:
        """Delete a trace, or one span of it, and return the number of deleted spans."""

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("BEGIN IMMEDIATE")
            deleted = connection.execute(
                "DELETE FROM spans WHERE trace_id = :trace AND (:span IS NULL OR span_id = :span)",
                {"trace": trace_id, "span": span_id},
            ).rowcount
            connection.execute(
                "DELETE FROM links WHERE trace_id = :trace AND (:span IS NULL OR span_id = :span)",
                {"trace": trace_id, "span": span_id},
            )
            trace_rollup.rebuild(connection, {trace_id})
            connection.execute("COMMIT")
            return deleted

        return self._database.run(write)

    def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return the result of `query` on one consistent snapshot."""

        def snapshot(connection: sqlite3.Connection) -> Result:
            connection.execute("BEGIN")
            return query(connection)

        return self._database.run(snapshot)

    def close(self) -> None:
        self._database.close()

    def _enforce_limits(self, connection: sqlite3.Connection) -> None:
        try:
            retention.enforce(connection, self.max_bytes, self.max_days)
        except sqlite3.OperationalError:
            # the batch is stored; the next one makes room
            pass


class _Batch:
    """The rows of spans that arrived together, ready to be written."""

    def __init__(self, spans: Iterable[DecodedSpan], received_ns: int) -> None:
        self._received_ns = received_ns
        self._origins: dict[int, tuple[SpanOrigin, int]] = {}
        found: dict[tuple[str, str], tuple[SpanRow, int]] = {}
        for span in spans:
            # spans of one batch share the object, so it is hashed once
            if id(span.origin) not in self._origins:
                self._origins[id(span.origin)] = (span.origin, _origin_id(span.origin))
            found[span.trace_id, span.span_id] = observation.row(span), self._origins[id(span.origin)][1]
        self._observations = [row for row, _ in found.values()]
        self._trace_ids = {trace_id for trace_id, _ in found}
        self.rows = [(*row, origin, received_ns) for row, origin in found.values()]

    def write(self, connection: sqlite3.Connection) -> None:
        """Insert or replace the rows and whatever is summed over them. Needs a transaction."""
        connection.executemany(
            _KEEP_ORIGIN,
            [
                (key, self._received_ns, compact(observation.origin_metadata(origin)))
                for origin, key in self._origins.values()
            ],
        )
        before = connection.total_changes
        bulk.insert(connection, f"INSERT OR IGNORE {_SPANS}", self.rows)
        if connection.total_changes - before == len(self.rows):
            trace_rollup.add(connection, self._observations, self._received_ns)
            arrivals.add(connection, self._observations, self._received_ns)
        else:
            bulk.insert(connection, f"INSERT OR REPLACE {_SPANS}", self.rows)
            trace_rollup.rebuild(connection, self._trace_ids)


def _origin_id(origin: SpanOrigin) -> int:
    content = compact(observation.origin_metadata(origin)).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), signed=True)
