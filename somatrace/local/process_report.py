"""The tracing report of one process, and its form on disk, which the process writes without a database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

#: The name under which tenants beyond a limit are counted together, as in `status().tenants`.
OTHERS: Final = "others"


class TenantReport(NamedTuple):
    """Spans of one tenant: waiting, delivered, and lost by reason."""

    waiting: int = 0
    delivered: int = 0
    lost: Mapping[str, int] = {}

    def added(self, other: TenantReport) -> TenantReport:
        """The sums of both."""
        lost = Counter(self.lost)
        lost.update(other.lost)
        return TenantReport(self.waiting + other.waiting, self.delivered + other.delivered, lost)


class ProcessReport(NamedTuple):
    """Tracing status of one process: spans created, delivered, queued, and lost by reason.

    `instruments` maps each library to the state of its instrumentation; "on" is the good one. `tenants` has
    the counts of those that matter most.
    """

    created: int = 0
    delivered: int = 0
    queued: int = 0
    lost: Mapping[str, int] = {}
    instruments: Mapping[str, str] = {}
    problems: tuple[str, ...] = ()
    tenants: Mapping[str, TenantReport] = {}


def most_important(tenants: Mapping[str, TenantReport], most: int) -> dict[str, TenantReport]:
    """Those that have lost most, then those with most waiting and delivered; the others as one."""

    def importance(name: str) -> tuple[bool, int, int, int]:
        one = tenants[name]
        return name != OTHERS, sum(one.lost.values()), one.waiting, one.delivered

    names = sorted(tenants, key=importance, reverse=True)
    kept = {name: tenants[name] for name in names[:most]}
    for name in names[most:]:
        kept[OTHERS] = kept.get(OTHERS, TenantReport()).added(tenants[name])
    return kept


def encoded(source: tuple[str, str], report: ProcessReport, time_ns: int) -> bytes:
    """A report of `source`, a service name and process ID, as bytes."""
    return json.dumps({"source": source, "time_ns": time_ns, "report": report._asdict()}).encode()


def decoded(payload: bytes) -> tuple[tuple[str, str], ProcessReport, int]:
    """The source, the report and its time; raises `ValueError` for anything else."""
    try:
        content: dict[str, Any] = json.loads(payload)
        service, process = map(str, content["source"])
        fields: dict[str, Any] = content["report"]
        report = ProcessReport(
            **{name: int(fields[name]) for name in ("created", "delivered", "queued")},
            lost={str(reason): int(number) for reason, number in fields["lost"].items()},
            instruments={str(name): str(state) for name, state in fields["instruments"].items()},
            problems=tuple(map(str, fields["problems"])),
            # reports of earlier versions have none
            tenants={str(name): _tenant(*one) for name, one in fields.get("tenants", {}).items()},
        )
        return (service, process), report, int(content["time_ns"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise ValueError("not a report") from None


def _tenant(waiting: Any, delivered: Any, lost: Mapping[Any, Any]) -> TenantReport:
    counts = {str(reason): int(number) for reason, number in lost.items()}
    return TenantReport(int(waiting), int(delivered), counts)
