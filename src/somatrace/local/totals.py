"""Sums of traces by the minute and the hour in which they started, so that charts never read traces.

Durations are counted in slots, four to the octave, which puts a percentile within nine percent.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from somatrace.local.summary import Summary

MINUTE: Final = 60
HOUR: Final = 3600
_STEPS: Final = (MINUTE, HOUR)
_SECOND: Final = 1_000_000_000
_PER_OCTAVE: Final = 4

SUMS: Final = (
    "traces", "failed", "spans", "calls", "unmeasured", "input_tokens", "output_tokens", "cost",
)  # fmt: skip
_KEY: Final = "step, since, tenant, workflow"
_ADD: Final = (
    f"INSERT INTO figures ({_KEY}, {', '.join(SUMS)}) VALUES (?, ?, ?, ?{', ?' * len(SUMS)}) "
    f"ON CONFLICT DO UPDATE SET {', '.join(f'{column} = {column} + excluded.{column}' for column in SUMS)}"
)
_ADD_DURATION: Final = (
    f"INSERT INTO durations ({_KEY}, slot, traces) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET traces = traces + excluded.traces"
)
_DROP: Final = f"DELETE FROM figures WHERE ({_KEY}) = (?, ?, ?, ?) AND traces = 0"
_DROP_DURATION: Final = f"DELETE FROM durations WHERE ({_KEY}, slot) = (?, ?, ?, ?, ?) AND traces = 0"

_Key = tuple[int, int, str, str]


def change(connection: sqlite3.Connection, before: Iterable[Summary], after: Iterable[Summary]) -> None:
    """Take the traces `before` out of the sums and put those `after` in."""
    sums: dict[_Key, list[float]] = {}
    durations: dict[tuple[int, int, str, str, int], int] = {}
    for sign, traces in ((-1, before), (1, after)):
        for trace in traces:
            figures = _figures(trace)
            length = slot(trace.end_ns - trace.start_ns)
            tenant, workflow = trace.tenant_id or "", trace.workflow_name or ""
            second = trace.start_ns // _SECOND
            for step in _STEPS:
                key = step, second - second % step, tenant, workflow
                line = sums.get(key)
                if line is None:
                    line = sums[key] = [0] * len(figures)
                for number, figure in enumerate(figures):
                    line[number] += sign * figure
                durations[*key, length] = durations.get((*key, length), 0) + sign
    moved = {key: line for key, line in sums.items() if any(line)}
    connection.executemany(_ADD, [(*key, *line) for key, line in moved.items()])
    connection.executemany(_DROP, [key for key, line in moved.items() if line[0] < 0])
    connection.executemany(_ADD_DURATION, [(*key, traces) for key, traces in durations.items() if traces])
    connection.executemany(_DROP_DURATION, [key for key, traces in durations.items() if traces < 0])


def slot(nanoseconds: int) -> int:
    """The slot of a duration; all below a microsecond share the first."""
    return max(0, math.floor(math.log2(nanoseconds / 1000) * _PER_OCTAVE)) if nanoseconds > 1000 else 0


def percentile(slots: Mapping[int, int], percent: float) -> float | None:
    """About the duration, in nanoseconds, below which `percent` of the counted traces lie."""
    wanted = sum(slots.values()) * percent / 100
    if wanted <= 0:
        return None
    for number, traces in sorted(slots.items()):
        if traces >= wanted:
            return 1000 * 2 ** ((number + wanted / traces) / _PER_OCTAVE)
        wanted -= traces
    return None


def _figures(trace: Summary) -> tuple[float, ...]:
    return (
        1, trace.errors > 0, trace.spans, trace.calls, trace.unmeasured,
        trace.input_tokens, trace.output_tokens, trace.cost,
    )  # fmt: skip
