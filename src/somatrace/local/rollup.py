"""One row per trace, kept while spans arrive, so that lists never have to group spans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from somatrace.local.row import Row

#: model calls: only these are summed, since spans around them may repeat their usage
CALLS: Final = ("GENERATION", "EMBEDDING")

_HEAD: Final = ("name", "tenant_id", "workflow_name", "agent_id", "service")
_COLUMNS: Final = (
    "trace_id", "head_root", "head_start", "head_span", *_HEAD, "start_ns", "end_ns", "spans", "errors",
    "calls", "unmeasured", "input_tokens", "output_tokens", "cost", "received_ns",
)  # fmt: skip
_EARLIER: Final = (
    "(excluded.head_root, -excluded.head_start, excluded.head_span) > (head_root, -head_start, head_span)"
)
_SUMS: Final = ("spans", "errors", "calls", "unmeasured", "input_tokens", "output_tokens", "cost")
_GROW: Final = (
    f"INSERT INTO traces ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (trace_id) DO UPDATE SET "
    + ", ".join(
        f"{column} = CASE WHEN {_EARLIER} THEN excluded.{column} ELSE {column} END"
        for column in ("head_root", "head_start", "head_span", *_HEAD)
    )
    + ", start_ns = min(start_ns, excluded.start_ns), end_ns = max(end_ns, excluded.end_ns), "
    + ", ".join(f"{column} = {column} + excluded.{column}" for column in _SUMS)
)
_ROW_COLUMNS: Final = ", ".join(Row._fields)


def grow(connection: sqlite3.Connection, rows: Iterable[Row], received_ns: int) -> None:
    """Add `rows`, none of which was there before, to the rows of their traces."""
    traces: dict[str, list[Row]] = {}
    for row in rows:
        traces.setdefault(row.trace_id, []).append(row)
    connection.executemany(_GROW, [_summary(spans, received_ns) for spans in traces.values()])


def rebuild(connection: sqlite3.Connection, trace_ids: Iterable[str]) -> None:
    """Make the rows of these traces say what their spans say, after spans were replaced or deleted."""
    for trace_id in trace_ids:
        found = connection.execute(
            "SELECT received_ns FROM traces WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        connection.execute("DELETE FROM traces WHERE trace_id = ?", (trace_id,))
        received = connection.execute(
            "SELECT min(received_ns) FROM spans WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        if received[0] is not None:
            first = received[0] if found is None else min(found[0], received[0])
            spans = connection.execute(f"SELECT {_ROW_COLUMNS} FROM spans WHERE trace_id = ?", (trace_id,))
            grow(connection, (Row(*span) for span in spans), first)


def _summary(spans: list[Row], received_ns: int) -> tuple[object, ...]:
    head = max(spans, key=lambda span: (bool(span.is_root), -span.start_ns, span.span_id))
    calls = [span for span in spans if span.type in CALLS]
    return (
        head.trace_id, bool(head.is_root), head.start_ns, head.span_id,
        head.trace_name or head.name, head.tenant_id, head.workflow_name, head.agent_id, head.service,
        min(span.start_ns for span in spans),
        max(span.end_ns for span in spans),
        len(spans),
        sum(span.level == "ERROR" for span in spans),
        len(calls),
        sum(span.total_tokens is None for span in calls),
        sum(span.input_tokens or 0 for span in calls),
        sum(span.output_tokens or 0 for span in calls),
        sum(span.total_cost or 0.0 for span in calls),
        received_ns,
    )  # fmt: skip
