"""Where a pasted id or some words lead."""

from __future__ import annotations

import re
import sqlite3
from typing import Final, NamedTuple

#: an index by span id alone would cost each span that arrives; the newest are read by their start instead
SPANS_LOOKED_AT: Final = 100_000
_TRACES_SHOWN: Final = 20

_TRACEPARENT: Final = re.compile(r"\b[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\b")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_SPAN: Final = re.compile(r"[0-9a-f]{16}")
_BEGINNING: Final = re.compile(r"[0-9a-f]{8,31}")


class SearchResult(NamedTuple):
    """What was found: traces, a span in the first of them, or a correlation id.

    With none of these `is_id` says whether an id is not here, or the text is words to look for.
    """

    traces: tuple[str, ...] = ()
    span_id: str = ""
    correlation: str = ""
    is_id: bool = False


def find(connection: sqlite3.Connection, wanted: str) -> SearchResult:
    """Read `wanted` as a traceparent, trace id, correlation id, span id or beginning of a trace id.

    An id is taken for what is here under it, not for what it looks like: a correlation id may well have
    the form of a trace id.
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
    """The trace of one of the newest spans; no row of them is read, only the index by start."""
    found = connection.execute(
        "SELECT trace_id FROM (SELECT trace_id, span_id FROM spans INDEXED BY spans_start "
        "ORDER BY start_ns DESC LIMIT ?) WHERE span_id = ? LIMIT 1",
        (SPANS_LOOKED_AT, span_id),
    ).fetchone()
    return found[0] if found else None


def _beginning_with(connection: sqlite3.Connection, text: str) -> tuple[str, ...]:
    # "g" comes after every hex digit
    found = connection.execute(
        "SELECT trace_id FROM traces WHERE trace_id >= ? AND trace_id < ? ORDER BY trace_id LIMIT ?",
        (text, text + "g", _TRACES_SHOWN),
    )
    return tuple(trace_id for (trace_id,) in found)
