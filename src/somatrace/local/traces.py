"""What the page reads: traces by tenant, workflow and status, and the spans of one."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from somatrace.local.metrics import Percentile

PAGE: Final = 50
MAX_SPANS: Final = 20_000
_GROUPS: Final = 100
_SPAN_COLUMNS: Final = (
    "span_id, parent_id, name, type, level, start_ns, end_ns, input_tokens, output_tokens, agent_id"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which traces; an empty value means all. `status` is "failed" or "ok"."""

    tenant: str = ""
    workflow: str = ""
    status: str = ""
    before: tuple[int, str] | None = None


def newest(connection: sqlite3.Connection, chosen: Filter) -> tuple[list[dict[str, Any]], bool]:
    """One page of traces, newest first, and whether there are older ones."""
    where: list[str] = ["1"]
    values: list[Any] = []
    if chosen.tenant:
        where.append("tenant_id = ?")
        values.append(chosen.tenant)
    if chosen.workflow:
        where.append("workflow_name = ?")
        values.append(chosen.workflow)
    if chosen.status:
        where.append("errors > 0" if chosen.status == "failed" else "errors = 0")
    if chosen.before is not None:
        where.append("(start_ns, trace_id) < (?, ?)")
        values.extend(chosen.before)
    rows = _dicts(
        connection.execute(
            f"SELECT * FROM traces WHERE {' AND '.join(where)} "
            f"ORDER BY start_ns DESC, trace_id DESC LIMIT {PAGE + 1}",
            values,
        )
    )
    return rows[:PAGE], len(rows) > PAGE


def overview(connection: sqlite3.Connection, since_ns: int) -> list[dict[str, Any]]:
    """Traces since a time, by tenant and workflow: counts, failures, p95 duration, tokens."""
    connection.create_aggregate("percentile", 2, Percentile)  # type: ignore[arg-type]
    return _dicts(
        connection.execute(
            "SELECT tenant_id, workflow_name, count(*) AS traces, sum(errors > 0) AS failed, "
            "percentile(end_ns - start_ns, 95) AS p95_ns, sum(unmeasured) AS unmeasured, "
            "sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost "
            "FROM traces WHERE start_ns >= ? GROUP BY tenant_id, workflow_name "
            f"ORDER BY failed DESC, traces DESC LIMIT {_GROUPS}",
            (since_ns,),
        )
    )


def trace(
    connection: sqlite3.Connection, trace_id: str
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The row of a trace (None when it is not here) and its spans, without their attributes."""
    found = _dicts(connection.execute("SELECT * FROM traces WHERE trace_id = ?", (trace_id,)))
    spans = _dicts(
        connection.execute(
            f"SELECT {_SPAN_COLUMNS} FROM spans WHERE trace_id = ? "
            f"ORDER BY start_ns, span_id LIMIT {MAX_SPANS}",
            (trace_id,),
        )
    )
    return (found[0] if found else None), spans


def span(connection: sqlite3.Connection, trace_id: str, span_id: str) -> dict[str, Any] | None:
    """One span with all that is known of it."""
    found = _dicts(
        connection.execute("SELECT * FROM spans WHERE trace_id = ? AND span_id = ?", (trace_id, span_id))
    )
    if not found:
        return None
    row = found[0]
    shared = connection.execute("SELECT metadata FROM origins WHERE id = ?", (row["origin"],)).fetchone()
    row["metadata"] = json.loads(row["metadata"]) | (json.loads(shared[0]) if shared else {})
    row["extra"] = {"usage": {}, "events": [], "links": [], "dropped": 0, **json.loads(row["extra"])}
    row["tags"] = json.loads(row["tags"])
    return row


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
