"""What the page reads of one trace and of one span."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from somatrace.local.traces import dicts
from somatrace.local.tree import LightSpan

#: spans of one trace that are read; a trace with more says so
MAX_SPANS: Final = 20_000
_LINKS: Final = 50
#: columns in which spans say the same
_SHARED: Final = {"parent_id", "type", "level", "service", "agent_id", "model", "status"}
_EXTRA: Final[dict[str, Any]] = {
    "usage": {},
    "cost": {},
    "parameters": {},
    "events": [],
    "links": [],
    "dropped": 0,
}


def trace(connection: sqlite3.Connection, trace_id: str) -> dict[str, Any] | None:
    """The row of a trace, None when it is not here."""
    found = dicts(connection.execute("SELECT * FROM traces WHERE trace_id = ?", (trace_id,)))
    return found[0] if found else None


def spans(connection: sqlite3.Connection, trace: Mapping[str, Any]) -> list[LightSpan]:
    """The spans of a trace, given as its row, by start, up to `MAX_SPANS`.

    Column by column, each as one value: row by row, each of ten thousand would wait for the interpreter's
    lock. They come by id, as the table holds them, and are sorted here, unless it takes an order to say
    which are the first.
    """
    order = f"ORDER BY start_ns, span_id LIMIT {MAX_SPANS}" if trace["spans"] > MAX_SPANS else ""
    columns = connection.execute(
        f"SELECT {', '.join(f'json_group_array({column})' for column in LightSpan._fields)} FROM "
        f"(SELECT {', '.join(LightSpan._fields)} FROM spans WHERE trace_id = ? {order})",
        (trace["trace_id"],),
    ).fetchone()
    found = list(map(LightSpan._make, zip(*map(_values, LightSpan._fields, columns), strict=True)))
    found.sort(key=attrgetter("start_ns"))
    return found


def _values(name: str, column: str) -> list[Any]:
    """The values of a column; equal texts are one object, since most of a large trace's are."""
    values: list[Any] = json.loads(column)
    if name not in _SHARED:
        return values
    texts: dict[Any, Any] = {}
    return list(map(texts.setdefault, values, values))


def span(connection: sqlite3.Connection, trace_id: str, span_id: str) -> dict[str, Any] | None:
    """One span with all that is known of it, and who points at it."""
    found = dicts(
        connection.execute("SELECT * FROM spans WHERE trace_id = ? AND span_id = ?", (trace_id, span_id))
    )
    if not found:
        return None
    row = found[0]
    shared = connection.execute("SELECT metadata FROM origins WHERE id = ?", (row["origin"],)).fetchone()
    row["own"] = json.loads(row["metadata"])
    row["origin"] = json.loads(shared[0]) if shared else {}
    row["metadata"] = row["own"] | row["origin"]
    row["extra"] = {**_EXTRA, **json.loads(row["extra"])}
    row["tags"] = json.loads(row["tags"])
    row["linked_from"] = dicts(
        connection.execute(
            f"SELECT trace_id, span_id FROM links WHERE to_trace = ? AND to_span = ? LIMIT {_LINKS}",
            (trace_id, span_id),
        )
    )
    return row
