"""How much of each segment the store contains. Written in the transaction of the rows, so that both hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

#: Not part of the schema: a store without it has taken in nothing, and older versions ignore it.
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS segments (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID"
)


class PositionError(Exception):
    """The store contains more or less of a segment than expected, because its file was replaced."""


def read(connection: sqlite3.Connection) -> dict[str, int]:
    """The positions of all segments that have been read in part or as a whole."""
    connection.execute(_TABLE)
    return dict(connection.execute("SELECT name, position FROM segments"))


def advance(connection: sqlite3.Connection, name: str, start: int, end: int) -> None:
    """Note that the store contains everything before `end`; raises `PositionError` unless it was `start`."""
    connection.execute(_TABLE)
    row = connection.execute("SELECT position FROM segments WHERE name = ?", (name,)).fetchone()
    if (row[0] if row else 0) != start:
        raise PositionError
    connection.execute("INSERT OR REPLACE INTO segments (name, position) VALUES (?, ?)", (name, end))


def forget(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget segments that no longer exist; their names are never used again."""
    connection.executemany("DELETE FROM segments WHERE name = ?", [(name,) for name in names])
