"""The latest tracing report of each process, stored next to its spans."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from somatrace.local.process_report import ProcessReport, TenantReport, most_important

#: limits of each report and on the number of processes, so that reports cannot fill the store
_TEXTS: Final = 20
_TEXT: Final = 300
_ENTRIES: Final = 100
_PROCESSES: Final = 1000
_DAY_NS: Final = 86_400_000_000_000

__all__ = ["ProcessReport", "keep", "read"]


def keep(
    connection: sqlite3.Connection,
    source: tuple[str, str],
    report: ProcessReport,
    *,
    now_ns: int,
    max_days: float,
) -> None:
    """Store `report`, replacing the previous one of the same `source`, a service name and process ID.

    Reports older than `max_days` are deleted.
    """
    connection.execute(
        "INSERT OR REPLACE INTO reports (service, process, seen_ns, report) VALUES (?, ?, ?, ?)",
        (*(text[:_TEXT] for text in source), now_ns, json.dumps(_bounded(report)._asdict())),
    )
    connection.execute("DELETE FROM reports WHERE seen_ns < ?", (now_ns - int(max_days * _DAY_NS),))
    connection.execute(
        "DELETE FROM reports WHERE seen_ns < (SELECT seen_ns FROM reports "
        f"ORDER BY seen_ns DESC LIMIT 1 OFFSET {_PROCESSES - 1})"
    )


def read(connection: sqlite3.Connection) -> Iterator[tuple[str, int, ProcessReport]]:
    """Yield the service, time and report of each process, newest first."""
    for service, seen_ns, text in connection.execute(
        "SELECT service, seen_ns, report FROM reports ORDER BY seen_ns DESC"
    ):
        fields: dict[str, Any] = json.loads(text)
        tenants = {name: TenantReport(*one) for name, one in fields.pop("tenants", {}).items()}
        yield service, seen_ns, ProcessReport(**fields, tenants=tenants)


def _bounded(report: ProcessReport) -> ProcessReport:
    return report._replace(
        lost=dict(list(report.lost.items())[:_ENTRIES]),
        instruments={
            name[:_TEXT]: state[:_TEXT] for name, state in list(report.instruments.items())[:_ENTRIES]
        },
        problems=tuple(text[:_TEXT] for text in report.problems[:_TEXTS]),
        tenants={
            name[:_TEXT]: one._replace(lost=dict(list(one.lost.items())[:_TEXTS]))
            for name, one in most_important(report.tenants, _ENTRIES).items()
        },
    )
