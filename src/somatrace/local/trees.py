"""Trees in use, and the last large one, since each click in a trace asks for the same.

The nodes of a tree point at each other: one that is only let go of stays until the collector comes by,
which stops every thread for as long as a page takes. So each is taken apart after its last reader.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from somatrace.local import detail, tree, window


@dataclass(slots=True, eq=False)
class _Entry:
    key: tuple[Any, ...]
    tree: tree.Tree
    readers: int = 1


class Trees:
    """Builds trees of traces; keeps one of more than a window's rows. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: _Entry | None = None
        self._lock = threading.Lock()

    @contextmanager
    def of(self, connection: sqlite3.Connection, row: Mapping[str, Any]) -> Iterator[tree.Tree]:
        """The tree of the trace that `row` of the table `traces` describes; good within the block."""
        entry = self._take(tuple(row.values()))
        if entry is None:
            entry = _Entry(tuple(row.values()), tree.build(detail.spans(connection, row)))
            if len(entry.tree.nodes) > window.ROWS:
                self._keep(entry)
        try:
            yield entry.tree
        finally:
            with self._lock:
                entry.readers -= 1
                unread = entry.readers == 0 and entry is not self._kept
            if unread:
                entry.tree.take_apart()

    def _take(self, key: tuple[Any, ...]) -> _Entry | None:
        """The kept tree, when it is that of `key`; another is let go of before the next one is built."""
        with self._lock:
            if self._kept is not None and self._kept.key == key:
                self._kept.readers += 1
                return self._kept
        self._keep(None)
        return None

    def _keep(self, entry: _Entry | None) -> None:
        with self._lock:
            before, self._kept = self._kept, entry
            unread = before is not None and before.readers == 0
        if before is not None and unread:
            before.tree.take_apart()
