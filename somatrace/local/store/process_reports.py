"""What processes say of their own tracing: the last word of each, beside the spans it sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

#: what is kept of each report, and of how many processes, so that none of it can fill the store
_TEXTS: Final = 20
_TEXT: Final = 300
_ENTRIES: Final = 100
_PROCESSES: Final = 1000
_DAY_NS: Final = 86_400_000_000_000


class ProcessReport(NamedTuple):
    """How tracing stood in one process: spans it made, delivered, had waiting, and lost by reason.

    `instruments` says of each library what its instrumentation does; "on" is the good case.
    """

    created: int = 0
    delivered: int = 0
    queued: int = 0
    lost: Mapping[str, int] = {}
    instruments: Mapping[str, str] = {}
    problems: tuple[str, ...] = ()


def keep(
    connection: sqlite3.Connection,
    named: tuple[str, str],
    report: ProcessReport,
    *,
    now_ns: int,
    max_days: float,
) -> None:
    """Put `report` in the place of what the process, `named` by its service and an id, said before.

    Those silent for `max_days` are forgotten.
    """
    connection.execute(
        "INSERT OR REPLACE INTO reports (service, process, seen_ns, report) VALUES (?, ?, ?, ?)",
        (*(text[:_TEXT] for text in named), now_ns, json.dumps(_bounded(report)._asdict())),
    )
    connection.execute("DELETE FROM reports WHERE seen_ns < ?", (now_ns - int(max_days * _DAY_NS),))
    connection.execute(
        "DELETE FROM reports WHERE seen_ns < (SELECT seen_ns FROM reports "
        f"ORDER BY seen_ns DESC LIMIT 1 OFFSET {_PROCESSES - 1})"
    )


def read(connection: sqlite3.Connection) -> Iterator[tuple[str, int, ProcessReport]]:
    """Service, moment and report of each process, the newest first."""
    for service, seen_ns, text in connection.execute(
        "SELECT service, seen_ns, report FROM reports ORDER BY seen_ns DESC"
    ):
        said: dict[str, Any] = json.loads(text)
        yield service, seen_ns, ProcessReport(**said)


def _bounded(report: ProcessReport) -> ProcessReport:
    return report._replace(
        lost=dict(list(report.lost.items())[:_ENTRIES]),
        instruments={
            name[:_TEXT]: state[:_TEXT] for name, state in list(report.instruments.items())[:_ENTRIES]
        },
        problems=tuple(text[:_TEXT] for text in report.problems[:_TEXTS]),
    )
