"""What this process tells the local store of its own tracing. Other targets are told nothing but spans."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

from somatrace.config import Settings
from somatrace.local.data_dir import data_dir
from somatrace.pipeline.report_schedule import ReportSchedule
from somatrace.runtime.status import Status


def reports_of(
    settings: Settings, status: Callable[[], Status], process: Callable[[], str]
) -> ReportSchedule | None:
    """Reports into the local store under the name that `process` gives; None for every other target."""
    if settings.target.kind != "local":
        return None

    def write() -> None:
        # late, as the store is: a process that sends no span pays for neither
        from somatrace.local.ingest.sink import LocalSink
        from somatrace.local.store.process_reports import ProcessReport

        directory = data_dir(settings.data_dir, settings.state_home)
        if directory is None:
            return
        now = status()
        report = ProcessReport(
            created=now.created,
            delivered=now.delivered,
            queued=now.queued_spans,
            lost=now.lost,
            instruments=now.instruments,
            problems=now.problems,
        )
        # opened for each report and closed again: nothing of it is there when the process forks
        with closing(LocalSink(str(directory), settings.local_max_bytes, settings.local_max_days)) as sink:
            sink.report(settings.service_name, f"{process()}/{os.getpid()}", report)

    return ReportSchedule(write)
