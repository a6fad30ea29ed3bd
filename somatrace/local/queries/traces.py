"""Queries for the trace list: filtering, sorting, and pages that cost the same at any depth.

Indexed filters (time, tenant, its workflow, failures) apply first; the others scan the newest `SCAN_LIMIT`
of the traces that remain. A filter that matches nothing is therefore as fast as one that matches all,
and the page reports how far the search went.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

PAGE: Final = 50
SCAN_LIMIT: Final = 20_000
#: counts stop here and are shown as "1,000+"
COUNTED: Final = 1000

#: sort orders of a list, largest first
SORTS: Final = {
    "start": "start_ns",
    "duration": "end_ns - start_ns",
    "tokens": "input_tokens + output_tokens",
    "spans": "spans",
    "cost": "cost",
}
_DURATION, _TOKENS = SORTS["duration"], SORTS["tokens"]
_NAME_LISTS: Final = {"model": "models", "agent": "agents", "service": "services"}
_TAG_COLUMNS: Final = {"tenant": "tenant_id", "workflow": "workflow_name"}
_WORDS: Final = ("name", "workflow_name", "failure")


class PagePosition(NamedTuple):
    """The last trace of a page: its value in the sorted column, and its ID."""

    value: float
    trace_id: str


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Filter and order of a trace list; an empty value means all. `status` is "failed", "ok" or "open"
    (no root so far). Traces must not have the tags in `unset` ("tenant", "workflow").

    `since_ns` is inclusive, `until_ns` exclusive. Durations are nanoseconds.
    """

    tenant: str = ""
    workflow: str = ""
    unset: tuple[str, ...] = ()
    agent: str = ""
    model: str = ""
    service: str = ""
    status: str = ""
    text: str = ""
    correlation: str = ""
    min_ns: int = 0
    max_ns: int = 0
    min_tokens: int = 0
    since_ns: int = 0
    until_ns: int = 0
    sort: str = "start"
    before: tuple[float, str] | None = None


class TracePage(NamedTuple):
    """One page of a list. `older` is the start of the next one, None at the end.

    `searched_to` is set if the search stopped at its limit: the start time of the last trace scanned.
    """

    rows: list[dict[str, Any]]
    older: PagePosition | None
    searched_to: int | None = None


class _Conditions:
    """SQL conditions with their values."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []

    def add(self, sql: str, *values: Any) -> None:
        self._parts.append(sql)
        self.values.extend(values)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __str__(self) -> str:
        return " AND ".join(self._parts) or "1"


def newest(
    connection: sqlite3.Connection, chosen: TraceFilter
) -> tuple[list[dict[str, Any]], PagePosition | None]:
    """One page of traces, and the start of the next."""
    found = search(connection, chosen)
    return found.rows, found.older


def search(connection: sqlite3.Connection, chosen: TraceFilter) -> TracePage:
    """One page of the matching traces, in the requested order."""
    indexed, scanned = _indexed(chosen), _scanned(chosen)
    by_start = chosen.sort not in SORTS or chosen.sort == "start"
    value = SORTS["start" if by_start else chosen.sort]
    if chosen.before is not None:
        (indexed if by_start else scanned).add(f"({value}, trace_id) < (?, ?)", *chosen.before)
    if by_start and not scanned:
        sql = f"SELECT * FROM traces WHERE {indexed} ORDER BY start_ns DESC, trace_id DESC LIMIT {PAGE + 1}"
        return _page(dicts(connection.execute(sql, indexed.values)), "start")
    newest_first = f"SELECT rowid FROM traces WHERE {indexed} ORDER BY start_ns DESC, trace_id DESC"
    rows = dicts(
        connection.execute(
            f"SELECT traces.* FROM ({newest_first} LIMIT {SCAN_LIMIT}) AS near "
            f"CROSS JOIN traces ON traces.rowid = near.rowid WHERE {scanned} "
            + ("" if by_start else f"ORDER BY {value} DESC, trace_id DESC ")
            + f"LIMIT {PAGE + 1}",
            [*indexed.values, *scanned.values],
        )
    )
    found = _page(rows, "start" if by_start else chosen.sort)
    if by_start and found.older:
        return found
    edge = connection.execute(
        f"SELECT start_ns, trace_id FROM traces WHERE {indexed} "
        f"ORDER BY start_ns DESC, trace_id DESC LIMIT 1 OFFSET {SCAN_LIMIT - 1}",
        indexed.values,
    ).fetchone()
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
    wanted = _scanned(chosen)
    for part, values in _indexed_parts(chosen):
        wanted.add(part, *values)
    marks = ", ".join("?" * len(shown))
    count, new = connection.execute(
        "SELECT count(*), ifnull(sum(received_ns > ?), 0) FROM (SELECT traces.received_ns FROM ("
        "SELECT rowid FROM traces INDEXED BY traces_changed WHERE changed_ns > ? "
        f"ORDER BY changed_ns DESC LIMIT {SCAN_LIMIT}) AS near "
        f"CROSS JOIN traces ON traces.rowid = near.rowid WHERE {wanted} AND trace_id NOT IN ({marks}) "
        f"LIMIT {COUNTED + 1})",
        [since_ns, since_ns, *wanted.values, *shown],
    ).fetchone()
    rows = connection.execute(
        f"SELECT * FROM traces WHERE trace_id IN ({marks}) AND changed_ns > ?", [*shown, polled_ns]
    )
    return TraceChanges(new, count - new, dicts(rows))


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
    indexed, scanned = _indexed(chosen), _scanned(chosen)
    indexed.add(f"(start_ns, trace_id) {side} (?, ?)", trace["start_ns"], trace["trace_id"])
    near = (
        f"SELECT rowid FROM traces WHERE {indexed} "
        f"ORDER BY start_ns {order}, trace_id {order} LIMIT {SCAN_LIMIT}"
    )
    found = connection.execute(
        f"SELECT trace_id FROM ({near}) AS near CROSS JOIN traces ON traces.rowid = near.rowid "
        f"WHERE {scanned} LIMIT 1",
        [*indexed.values, *scanned.values],
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


def _indexed(chosen: TraceFilter) -> _Conditions:
    found = _Conditions()
    for part, values in _indexed_parts(chosen):
        found.add(part, *values)
    return found


def _indexed_parts(chosen: TraceFilter) -> list[tuple[str, list[Any]]]:
    parts: list[tuple[str, list[Any]]] = []
    parts += _tag_condition(chosen, "tenant")
    if _has_tenant(chosen):
        parts += _tag_condition(chosen, "workflow")
    if chosen.correlation:
        parts.append(("correlation_id = ?", [chosen.correlation]))
    if chosen.status == "failed":
        parts.append(("errors > 0", []))
    if chosen.since_ns:
        parts.append(("start_ns >= ?", [chosen.since_ns]))
    if chosen.until_ns:
        parts.append(("start_ns < ?", [chosen.until_ns]))
    return parts


def _has_tenant(chosen: TraceFilter) -> bool:
    return bool(_tag_condition(chosen, "tenant"))


def _tag_condition(chosen: TraceFilter, name: str) -> list[tuple[str, list[Any]]]:
    column = _TAG_COLUMNS[name]
    if wanted := getattr(chosen, name):
        return [(f"{column} = ?", [wanted])]
    return [(f"{column} IS NULL", [])] if name in chosen.unset else []


def _scanned(chosen: TraceFilter) -> _Conditions:
    found = _Conditions()
    if not _has_tenant(chosen):
        # the workflow index starts with the tenant
        for part, values in _tag_condition(chosen, "workflow"):
            found.add(part, *values)
    if chosen.status == "ok":
        found.add("errors = 0 AND head_root")
    if chosen.status == "open":
        found.add("NOT head_root")
    for limit, condition in (
        (chosen.min_ns, f"{_DURATION} >= ?"),
        (chosen.max_ns, f"{_DURATION} <= ?"),
        (chosen.min_tokens, f"{_TOKENS} >= ?"),
    ):
        if limit:
            found.add(condition, limit)
    for name, column in _NAME_LISTS.items():
        if wanted := getattr(chosen, name):
            found.add(f"instr(char(10) || {column} || char(10), char(10) || ? || char(10))", wanted)
    anywhere = " OR ".join(f"{column} LIKE '%' || ? || '%' ESCAPE '!'" for column in _WORDS)
    for word in chosen.text.split():
        found.add(f"({anywhere})", *[_plain(word)] * len(_WORDS))
    return found


def _plain(word: str) -> str:
    """`word` with LIKE wildcards escaped."""
    return "".join("!" + letter if letter in "!%_" else letter for letter in word)


def dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """Rows as dictionaries keyed by column name."""
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
