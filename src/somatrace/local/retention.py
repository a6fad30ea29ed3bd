"""Keeping the store under its caps: whole traces go, those that arrived first before the others."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

#: traces deleted in one transaction, and seconds one call may spend: the rest waits for the next call
_STEP: Final = 50
_SECONDS: Final = 0.5
_PAGES: Final = 512


def enforce(connection: sqlite3.Connection, max_bytes: int, max_days: float) -> None:
    """Delete what is too old or too much, a bounded piece at a time, and give its pages back.

    The size counted is that of the pages in use; the write-ahead log may add a few megabytes.
    """
    deadline = time.monotonic() + _SECONDS
    oldest = time.time_ns() - int(max_days * 86400e9)
    while time.monotonic() < deadline:
        limit = None if _used(connection) > max_bytes else oldest
        if not _delete_oldest(connection, limit):
            break
    _shrink(connection, deadline)


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete_oldest(connection: sqlite3.Connection, received_before: int | None) -> bool:
    """Delete a few of the oldest traces, if any are `received_before` that time; say whether it did."""
    condition = "" if received_before is None else "WHERE received_ns < ?"
    values = () if received_before is None else (received_before,)
    query = f"SELECT trace_id FROM traces {condition} ORDER BY received_ns LIMIT {_STEP}"
    if connection.execute(query, values).fetchone() is None:
        return False
    connection.execute("BEGIN IMMEDIATE")
    oldest = connection.execute(query, values).fetchall()
    connection.executemany("DELETE FROM spans WHERE trace_id = ?", oldest)
    connection.executemany("DELETE FROM traces WHERE trace_id = ?", oldest)
    # a span is never older than its trace, nor its origin unseen since
    connection.execute(
        "DELETE FROM origins WHERE seen_ns < "
        "ifnull((SELECT min(received_ns) FROM traces), 9223372036854775807)"
    )
    connection.execute("COMMIT")
    return True


def _shrink(connection: sqlite3.Connection, deadline: float) -> None:
    """Give free pages back to the file system; a few stay, since the next batch needs some."""
    while connection.execute("PRAGMA freelist_count").fetchone()[0] > _PAGES and time.monotonic() < deadline:
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
