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

from somatrace.local.trace_view import span_tree, spans, window


@dataclass(slots=True, eq=False)
class _Entry:
    key: tuple[Any, ...]
    tree: span_tree.SpanTree
    readers: int = 1


class TreeCache:
    """Builds trees of traces; keeps one of more than a window's rows. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: _Entry | None = None
        self._lock = threading.Lock()

    @contextmanager
    def of(
        self, connection: sqlite3.Connection, row: Mapping[str, Any], asked: str = ""
    ) -> Iterator[span_tree.SpanTree]:
        """The tree of the trace that `row` of the table `traces` describes; good within the block.

        The span that is `asked` for is in it, even where a trace is too large to be read whole.
        """
        key = tuple(row.values())
        is_cut = row["spans"] > spans.MAX_SPANS
        entry = self._take(key, asked if is_cut else "")
        if entry is None:
            entry = _Entry(key, span_tree.build(spans.spans(connection, row, asked)))
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

    def _take(self, key: tuple[Any, ...], asked: str) -> _Entry | None:
        """The kept tree, when it is that of `key`; another is let go of before the next one is built."""
        with self._lock:
            kept = self._kept
            if kept is not None and kept.key == key and (not asked or asked in kept.tree.by_id):
                kept.readers += 1
                return kept
        self._keep(None)
        return None

    def _keep(self, entry: _Entry | None) -> None:
        with self._lock:
            before, self._kept = self._kept, entry
            unread = before is not None and before.readers == 0
        if before is not None and unread:
            before.tree.take_apart()
