"""Queries for one trace and one span."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from somatrace.local.queries.traces import dicts
from somatrace.local.trace_view.span_tree import LightSpan

#: spans of one trace that are read, from its start on; the page reports larger traces
MAX_SPANS: Final = 20_000
#: beyond that limit: failed spans anywhere in the trace, and ancestors of all spans read
_MAX_FAILED: Final = 5_000
_MAX_ABOVE: Final = 20_000
_LINKS: Final = 50
#: columns whose values repeat between spans
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
    """The row of a trace, or None if it is not in the store."""
    found = dicts(connection.execute("SELECT * FROM traces WHERE trace_id = ?", (trace_id,)))
    return found[0] if found else None


def spans(connection: sqlite3.Connection, trace: Mapping[str, Any], asked: str = "") -> list[LightSpan]:
    """The spans of a trace, given as its row, by start.

    For a trace of more than `MAX_SPANS`: the first ones, the failed ones, the one with the ID `asked`, and
    all their ancestors, so that a parent missing from the result never arrived. Rows come in the table's
    order, by ID, and are sorted here.
    """
    if trace["spans"] <= MAX_SPANS:
        found = _read(connection, "trace_id = ?", trace["trace_id"])
    else:
        found = _within_limit(connection, trace["trace_id"], asked)
    found.sort(key=attrgetter("start_ns"))
    return found


def _within_limit(connection: sqlite3.Connection, trace_id: str, asked: str) -> list[LightSpan]:
    first = _read(connection, f"trace_id = ? ORDER BY start_ns, span_id LIMIT {MAX_SPANS}", trace_id)
    failed = connection.execute(
        "SELECT span_id FROM spans WHERE trace_id = ? AND level = 'ERROR' "
        f"ORDER BY start_ns, span_id LIMIT {_MAX_FAILED}",
        (trace_id,),
    )
    here = {span.span_id for span in first}
    wanted = ({span.parent_id for span in first} | {span_id for (span_id,) in failed} | {asked}) - here
    above = connection.execute(
        "WITH RECURSIVE above (id) AS (SELECT value FROM json_each(?) UNION SELECT parent_id FROM above "
        "JOIN spans ON trace_id = ? AND span_id = id WHERE parent_id IS NOT NULL) "
        f"SELECT id FROM above LIMIT {_MAX_ABOVE}",
        (json.dumps([span_id for span_id in wanted if span_id]), trace_id),
    )
    others = {span_id for (span_id,) in above} - here
    return first + _read(
        connection,
        "trace_id = ? AND span_id IN (SELECT value FROM json_each(?))",
        trace_id,
        json.dumps(list(others)),
    )


def _read(connection: sqlite3.Connection, where: str, *values: str) -> list[LightSpan]:
    """Read each column as one JSON value; reading row by row would wait for the interpreter's lock
    ten thousand times."""
    columns = connection.execute(
        f"SELECT {', '.join(f'json_group_array({column})' for column in LightSpan._fields)} FROM "
        f"(SELECT {', '.join(LightSpan._fields)} FROM spans WHERE {where})",
        values,
    ).fetchone()
    return list(map(LightSpan._make, zip(*map(_values, LightSpan._fields, columns), strict=True)))


def matching_ids(connection: sqlite3.Connection, trace_id: str, text: str) -> set[str]:
    """The IDs of spans with `text` in an attribute or the status message, within a tree's limits."""
    found = connection.execute(
        "SELECT span_id FROM (SELECT span_id, status_message, metadata FROM spans WHERE trace_id = ? "
        f"ORDER BY trace_id, span_id LIMIT {MAX_SPANS + _MAX_FAILED}) "
        "WHERE status_message LIKE ? ESCAPE '!' OR metadata LIKE ? ESCAPE '!'",
        # attributes are stored as compact JSON with unescaped non-ASCII characters
        (trace_id, _anywhere(text), _anywhere(json.dumps(text, ensure_ascii=False)[1:-1])),
    )
    return {span_id for (span_id,) in found}


def _anywhere(text: str) -> str:
    """A LIKE pattern that matches `text` anywhere, with wildcards escaped."""
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return f"%{text}%"


def _values(name: str, column: str) -> list[Any]:
    """The values of a column; equal texts share one object, since most in a large trace repeat."""
    values: list[Any] = json.loads(column)
    if name not in _SHARED:
        return values
    texts: dict[Any, Any] = {}
    return list(map(texts.setdefault, values, values))


def span(connection: sqlite3.Connection, trace_id: str, span_id: str) -> dict[str, Any] | None:
    """One span with all its data and the spans that link to it."""
    found = dicts(
        connection.execute("SELECT * FROM spans WHERE trace_id = ? AND span_id = ?", (trace_id, span_id))
    )
    if not found:
        return None
    row = found[0]
    shared = connection.execute("SELECT metadata FROM origins WHERE id = ?", (row["origin"],)).fetchone()
    start = connection.execute("SELECT start_ns FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
    row["trace_start_ns"] = start[0] if start else row["start_ns"]
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
