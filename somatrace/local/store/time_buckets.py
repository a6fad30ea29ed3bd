"""Sums over traces by minute and hour of their start, so that charts never read traces."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from somatrace.local.store import histogram
from somatrace.local.store.trace_summary import TraceSummary

MINUTE: Final = 60
HOUR: Final = 3600
_STEPS: Final = (MINUTE, HOUR)
_SECOND: Final = 1_000_000_000

SUMS: Final = (
    "traces", "failed", "spans", "calls", "unmeasured", "input_tokens", "output_tokens", "cost",
)  # fmt: skip
KEY: Final = ("step", "since", "tenant", "workflow")
_WHERE: Final = " AND ".join(f"{column} = ?" for column in KEY)
_COLUMNS: Final = (*KEY, *SUMS, "durations")
_FIND: Final = f"SELECT {', '.join(SUMS)}, durations FROM figures WHERE {_WHERE}"
_KEEP: Final = (
    f"INSERT OR REPLACE INTO figures ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_DROP: Final = f"DELETE FROM figures WHERE {_WHERE}"


def change(
    connection: sqlite3.Connection, before: Iterable[TraceSummary], after: Iterable[TraceSummary]
) -> None:
    """Subtract the traces `before` from the sums and add those `after`."""
    moved: dict[tuple[int, str, str], list[float]] = {}
    for sign, traces in ((-1, before), (1, after)):
        for trace in traces:
            second = trace.start_ns // _SECOND
            key = second - second % MINUTE, trace.tenant_id or "", trace.workflow_name or ""
            figures = _figures(trace)
            line = moved.get(key)
            if line is None:
                line = moved[key] = [0] * len(figures)
            for number, figure in enumerate(figures):
                line[number] += sign * figure
    changes: dict[tuple[int, int, str, str], list[float]] = {}
    for (minute, tenant, workflow), line in moved.items():
        for step in _STEPS:
            whole = changes.setdefault((step, minute - minute % step, tenant, workflow), [0] * len(line))
            whole[:] = [one + other for one, other in zip(whole, line, strict=True)]
    for place, line in changes.items():
        if any(line):
            _write(connection, place, line)


def _write(connection: sqlite3.Connection, key: tuple[int, int, str, str], line: list[float]) -> None:
    found = connection.execute(_FIND, key).fetchone()
    if found is not None:
        line = [
            one + other for one, other in zip((*found[:-1], histogram.unpacked(found[-1])), line, strict=True)
        ]
    if line[0] > 0:
        connection.execute(_KEEP, (*key, *line[:-1], histogram.packed(int(line[-1]))))
    else:
        connection.execute(_DROP, key)


def _figures(trace: TraceSummary) -> tuple[float, ...]:
    return (
        1, trace.errors > 0, trace.spans, trace.calls, trace.unmeasured,
        trace.input_tokens, trace.output_tokens, trace.cost, histogram.one(trace.end_ns - trace.start_ns),
    )  # fmt: skip
