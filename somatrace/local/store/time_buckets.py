"""Sums over traces by minute and hour of their start, so that charts never read traces.

The sums of the scope "group" are those of a tenant and workflow. A trace may be in several groups, so that
sums over groups count it more than once: rows of the other scopes hold what must be added to correct that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import add
from typing import Final

from somatrace.local.store import histogram
from somatrace.local.store.shares import Share
from somatrace.local.store.trace_summary import TraceSummary

MINUTE: Final = 60
HOUR: Final = 3600
_STEPS: Final = (MINUTE, HOUR)
_SECOND: Final = 1_000_000_000

SUMS: Final = (
    "traces", "failed", "recovered", "spans", "calls", "unmeasured", "input_tokens", "output_tokens", "cost",
)  # fmt: skip
KEY: Final = ("step", "since", "scope", "tenant", "workflow")
GROUP: Final = "group"
#: The scopes of corrections: of all traces, of one tenant's, of one workflow's.
ALL: Final = "all"
TENANT: Final = "tenant"
WORKFLOW: Final = "workflow"
_WHERE: Final = " AND ".join(f"{column} = ?" for column in KEY)
_COLUMNS: Final = (*KEY, *SUMS, "durations")
_FIND: Final = f"SELECT {', '.join(SUMS)}, durations FROM figures WHERE {_WHERE}"
_KEEP: Final = (
    f"INSERT OR REPLACE INTO figures ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_DROP: Final = f"DELETE FROM figures WHERE {_WHERE}"


#: Scope, tenant and workflow.
_Place = tuple[str, str, str]
_Line = list[float]


def change(
    connection: sqlite3.Connection,
    before: Iterable[tuple[TraceSummary, list[Share]]],
    after: Iterable[tuple[TraceSummary, list[Share]]],
) -> None:
    """Subtract the traces `before` from the sums and add those `after`."""
    moved: dict[tuple[int, _Place], _Line] = {}
    for sign, traces in ((-1, before), (1, after)):
        for trace, shares in traces:
            second = trace.start_ns // _SECOND
            minute = second - second % MINUTE
            for place, figures in _lines(trace, shares):
                line = moved.get((minute, place))
                if line is None:
                    line = moved[minute, place] = [0] * len(figures)
                for number, figure in enumerate(figures):
                    line[number] += sign * figure
    changes: dict[tuple[int, int, _Place], _Line] = {}
    for (minute, place), line in moved.items():
        for step in _STEPS:
            whole = changes.setdefault((step, minute - minute % step, place), [0] * len(line))
            whole[:] = map(add, whole, line)
    for (step, since, place), line in changes.items():
        if any(line):
            _write(connection, (step, since, *place), line)


def _write(connection: sqlite3.Connection, key: tuple[int, int, str, str, str], line: _Line) -> None:
    found = connection.execute(_FIND, key).fetchone()
    if found is not None:
        line = [
            one + other for one, other in zip((*found[:-1], histogram.unpacked(found[-1])), line, strict=True)
        ]
    if line[0] > 0 or (key[2] != GROUP and any(line)):
        connection.execute(_KEEP, (*key, *line[:-1], histogram.packed(int(line[-1]))))
    else:
        connection.execute(_DROP, key)


def _lines(trace: TraceSummary, shares: list[Share]) -> Iterator[tuple[_Place, _Line]]:
    """The figures of a trace by place: one line for each of its groups, and the corrections."""
    duration = histogram.one(trace.end_ns - trace.start_ns)
    groups = [share for share in shares if share.belongs]
    for share in groups:
        yield (
            (GROUP, share.tenant, share.workflow),
            _figures(share.spans, share.failed, share.errors, duration, share),
        )
    whole = _figures(trace.spans, trace.failed, trace.errors, duration)
    yield from _correction((ALL, "", ""), whole, groups, duration)
    for tenant, of_tenant in groupby(sorted(groups), key=lambda share: share.tenant):
        found = list(of_tenant)
        spans = sum(share.spans for share in found)
        line = _figures(spans, found[0].tenant_failed, found[0].tenant_errors, duration)
        yield from _correction((TENANT, tenant, ""), line, found, duration)
    for workflow, in_workflow in groupby(
        sorted(groups, key=lambda share: share.workflow), key=lambda share: share.workflow
    ):
        found = list(in_workflow)
        failed, errors = any(share.failed for share in found), sum(share.errors for share in found)
        line = _figures(sum(share.spans for share in found), failed, errors, duration)
        yield from _correction((WORKFLOW, "", workflow), line, found, duration)


def _correction(
    place: _Place, right: _Line, shares: list[Share], duration: int
) -> Iterator[tuple[_Place, _Line]]:
    """The difference between the `right` figures and the sum over `shares`; nothing if they are equal."""
    line = right
    for share in shares:
        own = _figures(share.spans, share.failed, share.errors, duration)
        line = [one - other for one, other in zip(line, own, strict=True)]
    if any(line):
        yield place, line


def _figures(spans: int, failed: bool, errors: int, duration: int, used: Share | None = None) -> _Line:
    """One line. Tokens and cost are those of `used`: each share has its own, so that no sum repeats them."""
    tokens: tuple[float, ...] = (0, 0, 0, 0, 0)
    if used is not None:
        tokens = used.calls, used.unmeasured, used.input_tokens, used.output_tokens, used.cost
    return [1, bool(failed), bool(errors and not failed), spans, *tokens, duration]
