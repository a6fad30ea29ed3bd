"""Many rows in one statement, since SQLite releases the interpreter's lock for each row it steps through.

While another thread computes, it gets the lock back only after `sys.getswitchinterval()`, 5 ms: one
statement for each of 512 spans would take seconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

#: Group sizes are powers of two up to this one, so that few statements are compiled, once each.
_MOST: Final = 256


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], then: str = "") -> None:
    """Run `<into> VALUES (...), (...) <then>` for all rows, which have the same length."""
    done = 0
    while done < len(rows):
        width = len(rows[0])
        size = _size(connection, width, len(rows) - done)
        values = ", ".join([f"({', '.join('?' * width)})"] * size)
        group = rows[done : done + size]
        connection.execute(f"{into} VALUES {values} {then}", tuple(chain.from_iterable(group)))
        done += size


def select(connection: sqlite3.Connection, query: str, keys: Sequence[str]) -> list[Any]:
    """The rows of `query`, which ends with `IN`, for all keys."""
    found: list[Any] = []
    done = 0
    while done < len(keys):
        size = _size(connection, 1, len(keys) - done)
        group = keys[done : done + size]
        found += connection.execute(f"{query} ({', '.join('?' * size)})", tuple(group)).fetchall()
        done += size
    return found


def _size(connection: sqlite3.Connection, width: int, left: int) -> int:
    """The largest power of two within the number of rows left and the limit of one statement."""
    most = min(_MOST, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // width, left)
    return 1 << (max(1, most).bit_length() - 1)
