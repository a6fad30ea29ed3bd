"""Retention: deletion of whole traces, oldest arrivals first, to keep the store under its limits."""

from __future__ import annotations

import sqlite3
from typing import Final

from somatrace.local.store import trace_rollup
from somatrace.runtime.clock import clock

#: traces deleted per transaction, and seconds per call; the next call continues
_STEP: Final = 100
_SECONDS: Final = 0.5
_PAGES: Final = 256


def enforce(connection: sqlite3.Connection, max_bytes: int, max_days: float) -> None:
    """Delete traces over the age or size limit in bounded steps, and release their pages.

    Size is measured in pages in use; the write-ahead log may add a few megabytes.
    """
    deadline = clock.monotonic() + _SECONDS
    received_before = clock.time_ns() - int(max_days * 86400e9)
    while clock.monotonic() < deadline and _is_due(connection, max_bytes, received_before):
        _delete_oldest(connection, max_bytes, received_before)
    _shrink(connection, deadline)


def _is_due(connection: sqlite3.Connection, max_bytes: int, received_before: int) -> bool:
    """Whether the oldest trace, if there is one, must be deleted."""
    oldest = connection.execute("SELECT min(received_ns) FROM traces").fetchone()[0]
    return oldest is not None and (oldest < received_before or _used(connection) > max_bytes)


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete_oldest(connection: sqlite3.Connection, max_bytes: int, received_before: int) -> None:
    """Delete a few of the oldest traces, but none that may stay."""
    connection.execute("BEGIN IMMEDIATE")
    oldest = connection.execute(f"SELECT trace_id FROM traces ORDER BY received_ns LIMIT {_STEP}").fetchall()
    for trace_id in oldest:
        if not _is_due(connection, max_bytes, received_before):
            break
        connection.execute("DELETE FROM spans WHERE trace_id = ?", trace_id)
        connection.execute("DELETE FROM links WHERE trace_id = ?", trace_id)
        trace_rollup.forget(connection, trace_id)
    # a span never arrives before its trace, and its origin was seen when it arrived
    (first,) = connection.execute(
        "SELECT ifnull(min(received_ns), 9223372036854775807) FROM traces"
    ).fetchone()
    connection.execute("DELETE FROM origins WHERE seen_ns < ?", (first,))
    connection.execute("DELETE FROM arrivals WHERE last_ns < ?", (first,))
    connection.execute("COMMIT")


def _shrink(connection: sqlite3.Connection, deadline: float) -> None:
    """Return free pages to the file system, except for a few that the next batch needs."""
    while connection.execute("PRAGMA freelist_count").fetchone()[0] > _PAGES and clock.monotonic() < deadline:
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
