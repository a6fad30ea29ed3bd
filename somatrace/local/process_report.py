"""The tracing report of one process, and its form on disk, which the process writes without a database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class ProcessReport(NamedTuple):
    """Tracing status of one process: spans created, delivered, queued, and lost by reason.

    `instruments` maps each library to the state of its instrumentation; "on" is the good one.
    """

    created: int = 0
    delivered: int = 0
    queued: int = 0
    lost: Mapping[str, int] = {}
    instruments: Mapping[str, str] = {}
    problems: tuple[str, ...] = ()


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
        )
        return (service, process), report, int(content["time_ns"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise ValueError("not a report") from None
