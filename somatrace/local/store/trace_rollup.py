"""Per-trace rows and the sums over them, updated as spans arrive, so that pages never group spans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from somatrace.local.otlp.row import SpanRow
from somatrace.local.store import bulk, time_buckets, trace_summary
from somatrace.local.store.trace_summary import TraceSummary

_COLUMNS: Final = ", ".join(TraceSummary._fields)
_INTO: Final = f"INSERT INTO traces ({_COLUMNS})"
_OR_UPDATE: Final = "ON CONFLICT (trace_id) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in TraceSummary._fields
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM traces WHERE trace_id IN"
_ROW_COLUMNS: Final = ", ".join(SpanRow._fields)


def add(connection: sqlite3.Connection, rows: Iterable[SpanRow], received_ns: int) -> None:
    """Add `rows`, which must be new to the store, to the rows of their traces."""
    arrived: dict[str, list[SpanRow]] = {}
    for row in rows:
        arrived.setdefault(row.trace_id, []).append(row)
    before = _stored(connection, list(arrived))
    after: list[TraceSummary] = []
    for trace_id, spans in arrived.items():
        piece = trace_summary.of(spans, received_ns)
        after.append(trace_summary.merged(before[trace_id], piece) if trace_id in before else piece)
    bulk.insert(connection, _INTO, after, _OR_UPDATE)
    time_buckets.change(connection, before.values(), after)


def rebuild(connection: sqlite3.Connection, trace_ids: Iterable[str]) -> None:
    """Recompute the rows of these traces from their spans, after spans were replaced or deleted."""
    for trace_id in trace_ids:
        found = _stored(connection, [trace_id]).get(trace_id)
        forget(connection, [trace_id])
        received, changed = connection.execute(
            "SELECT min(received_ns), max(received_ns) FROM spans WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        if received is not None:
            first = received if found is None else min(found.received_ns, received)
            spans = connection.execute(f"SELECT {_ROW_COLUMNS} FROM spans WHERE trace_id = ?", (trace_id,))
            add(connection, (SpanRow(*span) for span in spans), first)
            if found is not None and _has_same_content(found, _stored(connection, [trace_id])[trace_id]):
                changed = found.changed_ns
            connection.execute("UPDATE traces SET changed_ns = ? WHERE trace_id = ?", (changed, trace_id))


def _has_same_content(one: TraceSummary, other: TraceSummary) -> bool:
    return one._replace(changed_ns=0) == other._replace(changed_ns=0)


def forget(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> None:
    """Delete the rows of these traces and subtract them from the sums."""
    time_buckets.change(connection, _stored(connection, trace_ids).values(), ())
    connection.executemany("DELETE FROM traces WHERE trace_id = ?", [(trace_id,) for trace_id in trace_ids])


def _stored(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> dict[str, TraceSummary]:
    found = (TraceSummary(*row) for row in bulk.select(connection, _SELECT, trace_ids))
    return {trace.trace_id: trace for trace in found}
