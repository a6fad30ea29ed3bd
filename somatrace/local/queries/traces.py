"""Queries for the trace list: filtering, sorting, and pages that cost the same at any depth.

Indexed filters (time, tenant, its workflow, failures) apply first; the others scan the newest `SCAN_LIMIT`
of the traces that remain. A filter that matches nothing is therefore as fast as one that matches all,
and the page reports how far the search went. The rows of a tenant or workflow have its own figures.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from somatrace.local.queries.trace_filter import (
    SORTS,
    Source,
    TraceFilter,
    failed_column,
    of_shares,
    on_traces,
    scanned,
    value_of,
)

PAGE: Final = 50
SCAN_LIMIT: Final = 20_000
#: counts stop here and are shown as "1,000+"
COUNTED: Final = 1000
#: Figures of a row that belong to the tags of the spans which made them.
_OWN: Final = ("errors", "calls", "unmeasured", "input_tokens", "output_tokens", "cost")


class PagePosition(NamedTuple):
    """The last trace of a page: its value in the sorted column, and its ID."""

    value: float
    trace_id: str


class TracePage(NamedTuple):
    """One page of a list. `older` is the start of the next one, None at the end.

    `searched_to` is set if the search stopped at its limit: the start time of the last trace scanned.
    """

    rows: list[dict[str, Any]]
    older: PagePosition | None
    searched_to: int | None = None


def newest(
    connection: sqlite3.Connection, chosen: TraceFilter
) -> tuple[list[dict[str, Any]], PagePosition | None]:
    """One page of traces, and the start of the next."""
    found = search(connection, chosen)
    return found.rows, found.older


def search(connection: sqlite3.Connection, chosen: TraceFilter) -> TracePage:
    """One page of the matching traces, in the requested order."""
    source, others = Source(chosen), scanned(chosen)
    by_start = chosen.sort not in SORTS or chosen.sort == "start"
    value = value_of("start" if by_start else chosen.sort, chosen)
    if chosen.before is not None:
        place = source.where if by_start else others
        place.add(f"({value.sql}, trace_id) < (?, ?)", *value.values, *chosen.before)
    unscanned = by_start and not others
    near = source.near(PAGE + 1 if unscanned else SCAN_LIMIT)
    rows = dicts(
        connection.execute(
            f"SELECT traces.* FROM ({near}) AS near {source.joined} WHERE {others} "
            + ("" if by_start else f"ORDER BY {value.sql} DESC, trace_id DESC ")
            + f"LIMIT {PAGE + 1}",
            [*source.where.values, *others.values, *value.values],
        )
    )
    _show_own(connection, chosen, rows)
    found = _page(rows, "start" if by_start else chosen.sort)
    if unscanned or (by_start and found.older):
        return found
    edge = connection.execute(source.edge(SCAN_LIMIT - 1), source.where.values).fetchone()
    if edge is None:
        return found
    return TracePage(found.rows, PagePosition(*edge) if by_start else found.older, edge[0])


class TraceChanges(NamedTuple):
    """Changes since a list was rendered: matching traces not on it, and updated rows of those on it."""

    new: int
    changed: int
    rows: list[dict[str, Any]]


def arrived(
    connection: sqlite3.Connection, chosen: TraceFilter, since_ns: int, shown: Sequence[str], polled_ns: int
) -> TraceChanges:
    """Count matching traces missing from a list rendered at `since_ns`, up to `COUNTED`, and read changes.

    A trace is new if its first span came since then, and changed if a later one did (a late failure, for
    example). `shown` are the traces on the list; those unchanged since `polled_ns` are left out.
    """
    wanted = on_traces(chosen)
    marks = ", ".join("?" * len(shown))
    count, new = connection.execute(
        "SELECT count(*), ifnull(sum(received_ns > ?), 0) FROM (SELECT traces.received_ns FROM ("
        "SELECT rowid FROM traces INDEXED BY traces_changed WHERE changed_ns > ? "
        f"ORDER BY changed_ns DESC LIMIT {SCAN_LIMIT}) AS near "
        f"CROSS JOIN traces ON traces.rowid = near.rowid WHERE {wanted} AND trace_id NOT IN ({marks}) "
        f"LIMIT {COUNTED + 1})",
        [since_ns, since_ns, *wanted.values, *shown],
    ).fetchone()
    rows = dicts(
        connection.execute(
            f"SELECT * FROM traces WHERE trace_id IN ({marks}) AND changed_ns > ?", [*shown, polled_ns]
        )
    )
    _show_own(connection, chosen, rows)
    return TraceChanges(new, count - new, rows)


def _show_own(connection: sqlite3.Connection, chosen: TraceFilter, rows: list[dict[str, Any]]) -> None:
    """Give rows the figures and the outcome of the chosen tenant and workflow, not of the whole trace."""
    shares = of_shares(chosen)
    if not shares or not rows:
        return
    sums = ", ".join(f"sum({name})" for name in _OWN)
    failed = failed_column(chosen)
    marks = ", ".join("?" * len(rows))
    found = connection.execute(
        f"SELECT trace_id, {sums}, max({failed}) FROM shares WHERE trace_id IN ({marks}) AND {shares} "
        "GROUP BY trace_id",
        [*(row["trace_id"] for row in rows), *shares.values],
    )
    own = {trace_id: figures for trace_id, *figures in found}
    for row in rows:
        row.update(zip((*_OWN, "failed"), own.get(row["trace_id"], [0] * (len(_OWN) + 1)), strict=True))
        if not row["errors"] and not row["failed"]:
            row["failure"] = None


def neighbours(
    connection: sqlite3.Connection, chosen: TraceFilter, trace: dict[str, Any]
) -> tuple[str | None, str | None]:
    """The next newer and the next older matching trace, by start."""
    return (
        _neighbour(connection, chosen, trace, ">", "ASC"),
        _neighbour(connection, chosen, trace, "<", "DESC"),
    )


def _neighbour(
    connection: sqlite3.Connection, chosen: TraceFilter, trace: dict[str, Any], side: str, order: str
) -> str | None:
    source, others = Source(chosen), scanned(chosen)
    source.where.add(f"(start_ns, trace_id) {side} (?, ?)", trace["start_ns"], trace["trace_id"])
    found = connection.execute(
        f"SELECT trace_id FROM ({source.near(SCAN_LIMIT, order)}) AS near {source.joined} "
        f"WHERE {others} LIMIT 1",
        [*source.where.values, *others.values],
    ).fetchone()
    return found[0] if found else None


def _page(rows: list[dict[str, Any]], sort: str) -> TracePage:
    page = rows[:PAGE]
    if len(rows) <= PAGE:
        return TracePage(page, None)
    last = page[-1]
    value: float = {
        "start": last["start_ns"],
        "duration": last["end_ns"] - last["start_ns"],
        "tokens": last["input_tokens"] + last["output_tokens"],
        "spans": last["spans"],
        "cost": last["cost"],
    }[sort]
    return TracePage(page, PagePosition(value, last["trace_id"]))


def dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """Rows as dictionaries keyed by column name."""
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
