"""Lookup of a pasted ID, or of the text in the search field."""

from __future__ import annotations

import re
import sqlite3
from typing import Final, NamedTuple

#: newest spans, read by start; an index on span IDs alone would slow down every insert
SCANNED_SPANS: Final = 100_000
_TRACES_SHOWN: Final = 20

_TRACEPARENT: Final = re.compile(r"\b[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\b")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_SPAN: Final = re.compile(r"[0-9a-f]{16}")
_BEGINNING: Final = re.compile(r"[0-9a-f]{8,31}")


class SearchResult(NamedTuple):
    """The match: traces, a span in the first of them, or a correlation ID.

    Without a match, `is_id` tells whether the input was an ID that is not in the store, or text to search.
    """

    traces: tuple[str, ...] = ()
    span_id: str = ""
    correlation: str = ""
    is_id: bool = False


def find(connection: sqlite3.Connection, wanted: str) -> SearchResult:
    """Look up `wanted` as a traceparent, trace ID, correlation ID, span ID or prefix of a trace ID.

    The stored data decides the kind of an ID, not its format: a correlation ID may look like a trace ID.
    """
    text = wanted.strip().lower()
    if parent := _TRACEPARENT.search(text):
        if _has_trace(connection, parent[1]):
            return SearchResult((parent[1],), parent[2] if _has_span(connection, *parent.groups()) else "")
        return SearchResult(is_id=True)
    if _TRACE.fullmatch(text) and _has_trace(connection, text):
        return SearchResult((text,))
    for correlation in (wanted.strip(), text):
        if connection.execute("SELECT 1 FROM traces WHERE correlation_id = ?", (correlation,)).fetchone():
            return SearchResult(correlation=correlation)
    if _SPAN.fullmatch(text) and (trace_id := _trace_of(connection, text)):
        return SearchResult((trace_id,), text)
    if _BEGINNING.fullmatch(text) and (traces := _beginning_with(connection, text)):
        return SearchResult(traces)
    return SearchResult(is_id=bool(_TRACE.fullmatch(text) or _SPAN.fullmatch(text)))


def _has_trace(connection: sqlite3.Connection, trace_id: str) -> bool:
    return connection.execute("SELECT 1 FROM traces WHERE trace_id = ?", (trace_id,)).fetchone() is not None


def _has_span(connection: sqlite3.Connection, trace_id: str, span_id: str) -> bool:
    sql = "SELECT 1 FROM spans WHERE trace_id = ? AND span_id = ?"
    return connection.execute(sql, (trace_id, span_id)).fetchone() is not None


def _trace_of(connection: sqlite3.Connection, span_id: str) -> str | None:
    """The trace of one of the newest spans, read from the index by start without reading rows."""
    found = connection.execute(
        "SELECT trace_id FROM (SELECT trace_id, span_id FROM spans INDEXED BY spans_start "
        "ORDER BY start_ns DESC LIMIT ?) WHERE span_id = ? LIMIT 1",
        (SCANNED_SPANS, span_id),
    ).fetchone()
    return found[0] if found else None


def _beginning_with(connection: sqlite3.Connection, text: str) -> tuple[str, ...]:
    # "g" comes after every hex digit
    found = connection.execute(
        "SELECT trace_id FROM traces WHERE trace_id >= ? AND trace_id < ? ORDER BY trace_id LIMIT ?",
        (text, text + "g", _TRACES_SHOWN),
    )
    return tuple(trace_id for (trace_id,) in found)
