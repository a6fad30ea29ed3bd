"""Queries for the overview: figures over time and by tenant and workflow, read from stored sums."""

from __future__ import annotations

import json
import operator
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from somatrace.local.store import histogram
from somatrace.local.store.time_buckets import ALL, GROUP, HOUR, MINUTE, SUMS, TENANT, WORKFLOW

GROUPS: Final = 200
#: longest range in seconds with one chart point per minute; longer ranges have one per hour
_MINUTES_UPTO: Final = 6 * HOUR
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class OverviewScope:
    """The traces to include: those that started from `since` to before `until` (seconds since 1970).

    An empty tenant or workflow means all; a name in `unset` selects traces without that tag.
    """

    since: int
    until: int
    tenant: str = ""
    workflow: str = ""
    unset: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Seconds from one point of a chart to the next."""
        return MINUTE if self.until - self.since <= _MINUTES_UPTO else HOUR


@dataclass(frozen=True, slots=True)
class TraceFigures:
    """Sums over some traces, and percentiles of their durations in nanoseconds (None without traces)."""

    sums: Mapping[str, Any]
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All figures of a scope: `points` has one entry per step, `groups` one per tenant and workflow."""

    scope: OverviewScope
    whole: TraceFigures
    points: list[TraceFigures] = field(default_factory=list)
    groups: list[TraceFigures] = field(default_factory=list)
    more_groups: bool = False


def read(connection: sqlite3.Connection, scope: OverviewScope) -> Overview:
    """The figures of `scope`, with its edges widened to whole steps."""
    whole = _Sum()
    points: dict[int, _Sum] = {}
    groups: dict[tuple[str, str], _Sum] = {}
    for since, kind, tenant, workflow, *sums, durations in _rows(connection, scope):
        counted = histogram.unpacked(durations)
        totals = [whole, points.get(since) or points.setdefault(since, _Sum())]
        if kind == GROUP:
            totals.append(groups.get((tenant, workflow)) or groups.setdefault((tenant, workflow), _Sum()))
        for total in totals:
            total.add(sums, counted)
    found = [total.figures(tenant=tenant, workflow=workflow) for (tenant, workflow), total in groups.items()]
    found.sort(key=lambda group: (-group.sums["failed"], -group.sums["traces"], group.sums["tenant"]))
    first = scope.since - scope.since % scope.step
    return Overview(
        scope,
        whole.figures(),
        [points.get(since, _Sum()).figures(since=since) for since in range(first, scope.until, scope.step)],
        found[:GROUPS],
        len(found) > GROUPS,
    )


def arrival(connection: sqlite3.Connection, now_ns: int) -> dict[str, Any]:
    """The time of the last span, the rate over the previous minute, and the oldest stored arrival."""
    last = connection.execute(
        "SELECT max(last_ns) FROM arrivals WHERE minute = (SELECT max(minute) FROM arrivals)"
    ).fetchone()[0]
    minute = now_ns // (60 * _SECOND_NS)
    recent = connection.execute(
        "SELECT ifnull(sum(spans), 0) FROM arrivals WHERE minute = ?", (minute - 1,)
    ).fetchone()[0]
    kept = connection.execute("SELECT min(received_ns) FROM traces").fetchone()[0]
    return {"last_ns": last, "per_second": recent / 60, "kept_ns": kept}


class _Sum:
    """An accumulator of figures."""

    def __init__(self) -> None:
        self._sums: list[float] = [0] * len(SUMS)
        self._durations = 0

    def add(self, sums: Iterable[float], durations: int) -> None:
        self._sums = list(map(operator.add, self._sums, sums))
        self._durations += durations

    def figures(self, **key: Any) -> TraceFigures:
        return TraceFigures(
            {**dict(zip(SUMS, self._sums, strict=True)), **key},
            *histogram.percentiles(self._durations, 50, 95, 99),
        )


def _rows(connection: sqlite3.Connection, scope: OverviewScope) -> list[Any]:
    """The rows of `scope`, read as one value, since each row would wait for the interpreter's lock."""
    step = scope.step
    where = "step = ? AND since >= ? AND since < ?"
    values: list[Any] = [step, scope.since - scope.since % step, scope.until]
    chosen = {
        column: wanted
        for column, wanted in (("tenant", scope.tenant), ("workflow", scope.workflow))
        if wanted or column in scope.unset
    }
    of_groups = " AND ".join(("scope = ?", *(f"{column} = ?" for column in chosen)))
    # a trace in several groups is counted once in their sum
    where += f" AND (({of_groups}) OR (scope = ? AND tenant = ? AND workflow = ?))"
    correction = {(): ALL, (TENANT,): TENANT, (WORKFLOW,): WORKFLOW}.get(tuple(chosen), "")
    values += [GROUP, *chosen.values(), correction, chosen.get(TENANT, ""), chosen.get(WORKFLOW, "")]
    columns = ", ".join(("since", "scope", "tenant", "workflow", *SUMS, "durations"))
    (text,) = connection.execute(
        f"SELECT json_group_array(json_array({columns})) FROM figures WHERE {where}", values
    ).fetchone()
    found: list[Any] = json.loads(text)
    return found
