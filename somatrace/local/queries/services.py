"""Query for the services page: summaries from stored spans and process reports."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from somatrace.local.process_report import TenantReport
from somatrace.local.queries.traces import dicts
from somatrace.local.store import process_reports
from somatrace.local.store.process_reports import ProcessReport

_SERVICES: Final = 200
_MINUTE_NS: Final = 60_000_000_000
_SCOPE: Final = ("scope.name", "scope.version")
#: instrumentation states that the page does not spell out
_ON: Final = "on"
_WAITING: Final = "waiting for import"
_INTENTIONAL: Final = ("not_sampled", "over_budget")
_SERVICE: Final = "resourceAttributes.service.name"
_INSTANCE: Final = "resourceAttributes.service.instance.id"
_SDK: Final = ("resourceAttributes.telemetry.sdk.name", "resourceAttributes.telemetry.sdk.version")


@dataclass(slots=True)
class ServiceSummary:
    """One service; counts are of spans since the start of the stored data.

    The fields from `processes` on come from reports of its processes. Processes that send to this store
    over the network, with or without somatrace, do not report.
    """

    name: str
    versions: list[str] = field(default_factory=list)
    last_ns: int = 0
    spans: int = 0
    failed: int = 0
    untagged: int = 0
    cut: int = 0
    last_minute: int = 0
    instances: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    sdks: set[str] = field(default_factory=set)
    processes: int = 0
    reported_ns: int = 0
    queued: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    instruments: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    tenants: dict[str, TenantReport] = field(default_factory=dict)

    @property
    def lost(self) -> list[tuple[str, int]]:
        """Spans that ended and never arrived, by reason, most frequent first."""
        return lost_of(self.counts)

    @property
    def left_out(self) -> list[tuple[str, int]]:
        """Spans dropped on purpose, by sampling or the latency budget."""
        return left_out_of(self.counts)

    @property
    def instrumented(self) -> list[str]:
        """The libraries whose calls are traced in every process that reported them."""
        return sorted(name for name, state in self.instruments.items() if _is_on(state))

    @property
    def uncovered(self) -> list[tuple[str, str]]:
        """The other installed libraries, and the reason why each is not traced."""
        return sorted(
            (name, state)
            for name, state in self.instruments.items()
            if state != _WAITING and not _is_on(state)
        )


@dataclass(frozen=True, slots=True)
class TenantDelivery:
    """What the reports of a service's processes say of one tenant's spans."""

    service: str
    name: str
    waiting: int
    delivered: int
    lost: list[tuple[str, int]]
    left_out: list[tuple[str, int]]


def delivery_by_tenant(found: Iterable[ServiceSummary]) -> list[TenantDelivery]:
    """The tenants of all services, those with most lost spans first, then those with most waiting."""
    rows = [
        TenantDelivery(
            service.name, name, one.waiting, one.delivered, lost_of(one.lost), left_out_of(one.lost)
        )
        for service in found
        for name, one in service.tenants.items()
    ]
    return sorted(rows, key=_importance, reverse=True)


def _importance(row: TenantDelivery) -> tuple[int, int, int]:
    return sum(number for _, number in row.lost), row.waiting, row.delivered


def lost_of(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Spans that ended and never arrived, by reason, most frequent first."""
    return [one for one in Counter(counts).most_common() if one[0] not in _INTENTIONAL]


def left_out_of(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Spans dropped on purpose, by reason, most frequent first."""
    return [one for one in Counter(counts).most_common() if one[0] in _INTENTIONAL]


def read(connection: sqlite3.Connection, now_ns: int) -> list[ServiceSummary]:
    """All services, those with the latest spans first."""
    minute = now_ns // _MINUTE_NS
    found: dict[str, ServiceSummary] = {}
    for row in dicts(
        connection.execute(
            "SELECT service, version, sum(spans) AS spans, sum(failed) AS failed, sum(untagged) AS untagged, "
            "sum(cut) AS cut, max(last_ns) AS last_ns, "
            "sum(CASE WHEN minute = ? THEN spans ELSE 0 END) AS last_minute "
            f"FROM arrivals GROUP BY service, version ORDER BY last_ns DESC LIMIT {_SERVICES}",
            (minute - 1,),
        )
    ):
        service = found.setdefault(row["service"], ServiceSummary(row["service"]))
        if row["version"]:
            service.versions.append(row["version"])
        for name in ("spans", "failed", "untagged", "cut", "last_minute"):
            setattr(service, name, getattr(service, name) + row[name])
        service.last_ns = max(service.last_ns, row["last_ns"])
    for (text,) in connection.execute("SELECT metadata FROM origins ORDER BY seen_ns DESC LIMIT 2000"):
        origin = json.loads(text)
        if (named := found.get(origin.get(_SERVICE, ""))) is not None:
            _add_origin(named, origin)
    for name, seen_ns, report in process_reports.read(connection):
        _add_report(found.setdefault(name, ServiceSummary(name)), seen_ns, report)
    return list(found.values())


def _is_on(state: str) -> bool:
    """Whether a library's calls are traced, with or without a remark in the state."""
    return state.partition(";")[0] == _ON


def _add_report(service: ServiceSummary, seen_ns: int, report: ProcessReport) -> None:
    service.processes += 1
    service.reported_ns = max(service.reported_ns, seen_ns)
    service.queued += report.queued
    service.counts.update(report.lost)
    for name, one in report.tenants.items():
        service.tenants[name] = service.tenants.get(name, TenantReport()).added(one)
    for library, state in report.instruments.items():
        # a process in which the library is not traced takes precedence, since it is the problem to show
        known = service.instruments.get(library, _WAITING)
        if known == _WAITING or (_is_on(known) and state != _WAITING):
            service.instruments[library] = state
    service.problems.extend(text for text in report.problems if text not in service.problems)


def _add_origin(service: ServiceSummary, origin: dict[str, Any]) -> None:
    for keys, names in ((_SCOPE, service.scopes), (_SDK, service.sdks), ((_INSTANCE,), service.instances)):
        if text := " ".join(origin[key] for key in keys if origin.get(key)):
            names.add(text)
