"""Figures over time and by tenant and workflow, read from sums and never from traces."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from somatrace.local.totals import HOUR, MINUTE, SUMS, percentile
from somatrace.local.traces import dicts

GROUPS: Final = 200
#: up to this many seconds a minute is a point of the chart, else an hour
_MINUTES_UPTO: Final = 6 * HOUR
_SECOND_NS: Final = 1_000_000_000
_SUMS: Final = ", ".join(f"sum({column}) AS {column}" for column in SUMS)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which traces: by start, from `since` to before `until` (seconds since 1970), and whose."""

    since: int
    until: int
    tenant: str = ""
    workflow: str = ""

    @property
    def step(self) -> int:
        """Seconds from one point of a chart to the next."""
        return MINUTE if self.until - self.since <= _MINUTES_UPTO else HOUR


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of some traces, and their durations in nanoseconds (None where there was none)."""

    sums: Mapping[str, Any]
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """`points` holds a line for each step, `groups` one for each tenant and workflow."""

    scope: Scope
    whole: Figures
    points: list[Figures] = field(default_factory=list)
    groups: list[Figures] = field(default_factory=list)
    more_groups: bool = False


def read(connection: sqlite3.Connection, scope: Scope) -> Overview:
    """The figures of `scope`, whose edges are widened to whole steps."""
    where, values = _where(scope)
    points = _figures(connection, where, values, ("since",))
    groups = _figures(connection, where, values, ("tenant", "workflow"))
    groups.sort(key=lambda group: (-group.sums["failed"], -group.sums["traces"], group.sums["tenant"]))
    (whole,) = _figures(connection, where, values, ())
    return Overview(scope, whole, _filled(scope, points), groups[:GROUPS], len(groups) > GROUPS)


def arrival(connection: sqlite3.Connection, now_ns: int) -> dict[str, Any]:
    """When the last span came, how many came in the minute before this one, and what is kept."""
    last = connection.execute(
        "SELECT max(last_ns) FROM arrivals WHERE minute = (SELECT max(minute) FROM arrivals)"
    ).fetchone()[0]
    minute = now_ns // (60 * _SECOND_NS)
    recent = connection.execute(
        "SELECT ifnull(sum(spans), 0) FROM arrivals WHERE minute = ?", (minute - 1,)
    ).fetchone()[0]
    kept = connection.execute("SELECT min(received_ns) FROM traces").fetchone()[0]
    return {"last_ns": last, "per_second": recent / 60, "kept_ns": kept}


def _where(scope: Scope) -> tuple[str, list[Any]]:
    step = scope.step
    where = "step = ? AND since >= ? AND since < ?"
    values: list[Any] = [step, scope.since - scope.since % step, scope.until]
    for column, wanted in (("tenant", scope.tenant), ("workflow", scope.workflow)):
        if wanted:
            where += f" AND {column} = ?"
            values.append(wanted)
    return where, values


def _figures(
    connection: sqlite3.Connection, where: str, values: list[Any], by: tuple[str, ...]
) -> list[Figures]:
    columns = "".join(f"{column}, " for column in by)
    group = f"GROUP BY {', '.join(by)}" if by else ""
    slots: dict[tuple[Any, ...], dict[int, int]] = {}
    for *key, slot, traces in connection.execute(
        f"SELECT {columns}slot, sum(traces) FROM durations WHERE {where} GROUP BY {columns}slot", values
    ):
        slots.setdefault(tuple(key), {})[slot] = traces
    found = []
    for sums in dicts(
        connection.execute(f"SELECT {columns}{_SUMS} FROM figures WHERE {where} {group}", values)
    ):
        lengths = slots.get(tuple(sums[column] for column in by), {})
        found.append(Figures(sums, *(percentile(lengths, percent) for percent in (50, 95, 99))))
    return found


def _filled(scope: Scope, points: list[Figures]) -> list[Figures]:
    """A point for every step, those without traces too, so that gaps look like gaps."""
    by_time = {point.sums["since"]: point for point in points}
    first = scope.since - scope.since % scope.step
    return [
        by_time.get(since) or Figures({**dict.fromkeys(SUMS, 0), "since": since}, None, None, None)
        for since in range(first, scope.until, scope.step)
    ]
