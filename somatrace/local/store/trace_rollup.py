"""The rows of traces, of shares in them, and the sums over both, so that pages never group spans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from somatrace.local.otlp.row import SpanRow
from somatrace.local.store import bulk, shares, time_buckets, trace_summary
from somatrace.local.store.shares import Share
from somatrace.local.store.trace_summary import TraceSummary

_COLUMNS: Final = ", ".join(TraceSummary._fields)
_INTO: Final = f"INSERT INTO traces ({_COLUMNS})"
_OR_UPDATE: Final = "ON CONFLICT (trace_id) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in TraceSummary._fields
)
_INTO_SHARES: Final = f"INSERT OR REPLACE INTO shares ({', '.join(Share._fields)})"
_SELECT_SHARES: Final = f"SELECT {', '.join(Share._fields)} FROM shares WHERE trace_id IN"
_SELECT: Final = f"SELECT {_COLUMNS} FROM traces WHERE trace_id IN"
_ROW_COLUMNS: Final = ", ".join(SpanRow._fields)

_Stored = tuple[TraceSummary, list[Share]]


def add(connection: sqlite3.Connection, rows: Iterable[SpanRow], received_ns: int) -> None:
    """Add `rows`, which must be new to the store, to the rows of their traces."""
    arrived: dict[str, list[SpanRow]] = {}
    for row in rows:
        arrived.setdefault(row.trace_id, []).append(row)
    before = _stored(connection, list(arrived))
    after: list[_Stored] = []
    for trace_id, spans in arrived.items():
        trace, parts = trace_summary.of(spans, received_ns), shares.of(spans)
        if trace_id in before:
            known, known_parts = before[trace_id]
            trace = trace_summary.merged(known, trace)
            parts = shares.merged({part.key: part for part in known_parts}, parts)
        after.append(shares.settled(trace, parts.values()))
    bulk.insert(connection, _INTO, [trace for trace, _ in after], _OR_UPDATE)
    bulk.insert(connection, _INTO_SHARES, [part for _, parts in after for part in parts])
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
            first = received if found is None else min(found[0].received_ns, received)
            spans = connection.execute(f"SELECT {_ROW_COLUMNS} FROM spans WHERE trace_id = ?", (trace_id,))
            add(connection, (SpanRow(*span) for span in spans), first)
            if found is not None and _has_same_content(found, _stored(connection, [trace_id])[trace_id]):
                changed = found[0].changed_ns
            connection.execute("UPDATE traces SET changed_ns = ? WHERE trace_id = ?", (changed, trace_id))


def _has_same_content(one: _Stored, other: _Stored) -> bool:
    return one[0]._replace(changed_ns=0) == other[0]._replace(changed_ns=0) and one[1] == other[1]


def forget(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> None:
    """Delete the rows of these traces and subtract them from the sums."""
    time_buckets.change(connection, _stored(connection, trace_ids).values(), ())
    connection.executemany("DELETE FROM traces WHERE trace_id = ?", [(trace_id,) for trace_id in trace_ids])
    connection.executemany("DELETE FROM shares WHERE trace_id = ?", [(trace_id,) for trace_id in trace_ids])


def _stored(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> dict[str, _Stored]:
    parts: dict[str, list[Share]] = {}
    for row in bulk.select(connection, _SELECT_SHARES, trace_ids):
        share = Share(*row)
        parts.setdefault(share.trace_id, []).append(share)
    found = (TraceSummary(*row) for row in bulk.select(connection, _SELECT, trace_ids))
    return {trace.trace_id: (trace, parts.get(trace.trace_id, [])) for trace in found}
