"""Reports on this process's own tracing for the local store. Other targets receive only spans."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from somatrace.config import Settings
from somatrace.local.data_dir import data_dir
from somatrace.local.process_report import ProcessReport, TenantReport, encoded, most_important
from somatrace.pipeline.report_schedule import ReportSchedule
from somatrace.runtime.clock import clock
from somatrace.runtime.status import Status

if TYPE_CHECKING:
    from somatrace.spool.report_file import ReportFile

#: Tenants with counts of their own in a report.
MOST_TENANTS: Final = 50


def reports_of(
    settings: Settings, status: Callable[[], Status], process: Callable[[], str]
) -> ReportSchedule | None:
    """Reports for the local store, under the name returned by `process`; None for any other target."""
    if settings.target.kind != "local":
        return None
    file: ReportFile | None = None

    def write() -> None:
        nonlocal file
        from somatrace.spool.report_file import ReportFile  # for this target only

        if file is None:
            directory = data_dir(settings.data_dir, settings.state_home)
            if directory is None:
                return
            file = ReportFile(directory)
        now = status()
        report = ProcessReport(
            created=now.created,
            delivered=now.delivered,
            queued=now.queued_spans,
            lost=now.lost,
            instruments=now.instruments,
            problems=now.problems,
            tenants=most_important(
                {
                    name: TenantReport(one.waiting, one.delivered, one.lost)
                    for name, one in now.tenants.items()
                },
                MOST_TENANTS,
            ),
        )
        source = settings.service_name, f"{process()}/{os.getpid()}"
        file.write(encoded(source, report, clock.time_ns()))

    return ReportSchedule(write)
