"""Keeping the store under its caps: whole traces go, those that arrived first before the others."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from somatrace.local.store import trace_rollup

#: traces deleted in one transaction, and seconds one call may spend: the rest waits for the next call
_STEP: Final = 100
_SECONDS: Final = 0.5
_PAGES: Final = 256


def enforce(connection: sqlite3.Connection, max_bytes: int, max_days: float) -> None:
    """Delete what is too old or too much, a bounded piece at a time, and give its pages back.

    The size counted is that of the pages in use; the write-ahead log may add a few megabytes.
    """
    deadline = time.monotonic() + _SECONDS
    received_before = time.time_ns() - int(max_days * 86400e9)
    while time.monotonic() < deadline and _is_due(connection, max_bytes, received_before):
        _delete_oldest(connection, max_bytes, received_before)
    _shrink(connection, deadline)


def _is_due(connection: sqlite3.Connection, max_bytes: int, received_before: int) -> bool:
    """Whether the oldest trace, if there is one, has to go."""
    oldest = connection.execute("SELECT min(received_ns) FROM traces").fetchone()[0]
    return oldest is not None and (oldest < received_before or _used(connection) > max_bytes)


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete_oldest(connection: sqlite3.Connection, max_bytes: int, received_before: int) -> None:
    """Delete a few of the oldest traces, and not one more than has to go."""
    connection.execute("BEGIN IMMEDIATE")
    oldest = connection.execute(f"SELECT trace_id FROM traces ORDER BY received_ns LIMIT {_STEP}").fetchall()
    for trace_id in oldest:
        if not _is_due(connection, max_bytes, received_before):
            break
        connection.execute("DELETE FROM spans WHERE trace_id = ?", trace_id)
        connection.execute("DELETE FROM links WHERE trace_id = ?", trace_id)
        trace_rollup.forget(connection, trace_id)
    # a span is never older than its trace, nor its origin unseen since
    (first,) = connection.execute(
        "SELECT ifnull(min(received_ns), 9223372036854775807) FROM traces"
    ).fetchone()
    connection.execute("DELETE FROM origins WHERE seen_ns < ?", (first,))
    connection.execute("DELETE FROM arrivals WHERE last_ns < ?", (first,))
    connection.execute("COMMIT")


def _shrink(connection: sqlite3.Connection, deadline: float) -> None:
    """Give free pages back to the file system; a few stay, since the next batch needs some."""
    while connection.execute("PRAGMA freelist_count").fetchone()[0] > _PAGES and time.monotonic() < deadline:
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
