"""Counts of arriving spans by service and minute, and links between spans."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from somatrace.local.otlp.row import SpanRow
from somatrace.local.store import bulk

_MINUTE_NS: Final = 60_000_000_000
_COUNTS: Final = ("spans", "failed", "untagged", "cut")
_ADD: Final = (
    f"INSERT INTO arrivals (minute, service, version, {', '.join(_COUNTS)}, last_ns) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET last_ns = max(last_ns, excluded.last_ns), "
    + ", ".join(f"{column} = {column} + excluded.{column}" for column in _COUNTS)
)


def add(connection: sqlite3.Connection, rows: Iterable[SpanRow], received_ns: int) -> None:
    """Count `rows`, which must be new to the store, and store their links."""
    counts: dict[tuple[str, str], list[int]] = {}
    links: list[tuple[str, str, str, str]] = []
    for row in rows:
        line = counts.setdefault((row.service or "", row.version or ""), [0] * len(_COUNTS))
        line[0] += 1
        line[1] += row.level == "ERROR"
        line[2] += row.tenant_id is None
        # few spans have either, and parsing the JSON of all would cost more than everything else here
        if '"dropped":' in row.extra or '"links":' in row.extra:
            extra = json.loads(row.extra)
            line[3] += bool(extra.get("dropped"))
            links.extend(
                (row.trace_id, row.span_id, link["trace_id"], link["span_id"])
                for link in extra.get("links", ())
            )
    minute = received_ns // _MINUTE_NS
    connection.executemany(_ADD, [(minute, *service, *line, received_ns) for service, line in counts.items()])
    bulk.insert(connection, "INSERT OR IGNORE INTO links", links)
