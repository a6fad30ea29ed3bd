"""A small file beside the segments with a process's latest report, which replaces its previous one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from somatrace.runtime.clock import clock
from somatrace.spool.spool_directory import NEW, REPORT, UNFINISHED, new_name, open_file, open_spool


class ReportFile:
    """The report of this process in `<directory>/spool`; a forked child has a file of its own."""

    def __init__(self, directory: Path) -> None:
        self._parent = directory
        self._pid = 0
        self._name = ""

    def write(self, payload: bytes) -> None:
        """Replace the report as a whole; raises `OSError`."""
        if self._pid != os.getpid():
            self._pid, self._name = os.getpid(), new_name(clock.time_ns(), REPORT)
        spool = open_spool(self._parent, create=True)
        unfinished = f"{self._name}{UNFINISHED}"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished, dir_fd=spool)
            with os.fdopen(open_file(spool, unfinished, NEW), "wb") as file:
                file.write(payload)
            os.rename(unfinished, self._name, src_dir_fd=spool, dst_dir_fd=spool)
        finally:
            os.close(spool)
