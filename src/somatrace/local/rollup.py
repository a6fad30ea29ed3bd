"""One row per trace, and sums over them, kept while spans arrive, so that pages never group spans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from somatrace.local import summary, totals
from somatrace.local.row import Row
from somatrace.local.summary import Summary

_COLUMNS: Final = ", ".join(Summary._fields)
_INSERT: Final = f"INSERT INTO traces ({_COLUMNS}) VALUES ({', '.join('?' * len(Summary._fields))})"
_UPDATE: Final = (
    f"UPDATE traces SET ({_COLUMNS}) = ({', '.join('?' * len(Summary._fields))}) WHERE trace_id = ?"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM traces WHERE trace_id = ?"
_ROW_COLUMNS: Final = ", ".join(Row._fields)


def grow(connection: sqlite3.Connection, rows: Iterable[Row], received_ns: int) -> None:
    """Add `rows`, none of which was there before, to the rows of their traces."""
    arrived: dict[str, list[Row]] = {}
    for row in rows:
        arrived.setdefault(row.trace_id, []).append(row)
    added: list[Summary] = []
    before: list[Summary] = []
    changed: list[Summary] = []
    for trace_id, spans in arrived.items():
        found = _stored(connection, trace_id)
        piece = summary.of(spans, received_ns)
        if found is None:
            added.append(piece)
        else:
            before.append(found)
            changed.append(summary.merged(found, piece))
    connection.executemany(_INSERT, added)
    connection.executemany(_UPDATE, [(*trace, trace.trace_id) for trace in changed])
    totals.change(connection, before, added + changed)


def rebuild(connection: sqlite3.Connection, trace_ids: Iterable[str]) -> None:
    """Make the rows of these traces say what their spans say, after spans were replaced or deleted."""
    for trace_id in trace_ids:
        found = _stored(connection, trace_id)
        forget(connection, [trace_id])
        received = connection.execute(
            "SELECT min(received_ns) FROM spans WHERE trace_id = ?", (trace_id,)
        ).fetchone()[0]
        if received is not None:
            first = received if found is None else min(found.received_ns, received)
            spans = connection.execute(f"SELECT {_ROW_COLUMNS} FROM spans WHERE trace_id = ?", (trace_id,))
            grow(connection, (Row(*span) for span in spans), first)


def forget(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> None:
    """Delete the rows of these traces, out of the sums too."""
    gone = [found for trace_id in trace_ids if (found := _stored(connection, trace_id))]
    totals.change(connection, gone, ())
    connection.executemany("DELETE FROM traces WHERE trace_id = ?", [(trace_id,) for trace_id in trace_ids])


def _stored(connection: sqlite3.Connection, trace_id: str) -> Summary | None:
    found = connection.execute(_SELECT, (trace_id,)).fetchone()
    return None if found is None else Summary(*found)
