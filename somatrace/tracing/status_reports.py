"""Reports on this process's own tracing for the local store. Other targets receive only spans."""

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
    """Reports for the local store, under the name returned by `process`; None for any other target."""
    if settings.target.kind != "local":
        return None

    def write() -> None:
        # late, like the store: a process that sends no span needs neither
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
        # opened and closed for each report: nothing stays open when the process forks
        with closing(LocalSink(str(directory), settings.local_max_bytes, settings.local_max_days)) as sink:
            sink.report(settings.service_name, f"{process()}/{os.getpid()}", report)

    return ReportSchedule(write)
