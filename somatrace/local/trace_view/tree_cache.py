"""Cache of trees in use and of the last large one, since each click in a trace needs the same tree.

The nodes of a tree form reference cycles. An unreferenced tree would stay until garbage collection, which
stops every thread for as long as a page takes, so each tree is dismantled after its last reader.
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
    """Builds trees of traces and keeps the last one larger than a window. Thread-safe."""

    def __init__(self) -> None:
        self._kept: _Entry | None = None
        self._lock = threading.Lock()

    @contextmanager
    def of(
        self, connection: sqlite3.Connection, row: Mapping[str, Any], asked: str = ""
    ) -> Iterator[span_tree.SpanTree]:
        """The tree of the trace described by `row` of the `traces` table; valid within the block.

        It contains the span with the ID `asked`, even if the trace is too large to be read whole.
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
                entry.tree.dismantle()

    def _take(self, key: tuple[Any, ...], asked: str) -> _Entry | None:
        """The cached tree if it has `key`; any other is released before the next one is built."""
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
            before.tree.dismantle()
