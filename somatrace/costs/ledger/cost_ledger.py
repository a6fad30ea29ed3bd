"""The ledger of one process: collects what calls have cost, and writes it down with each batch of spans."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from somatrace.costs.ledger.ledger_directory import compact, merge, open_ledger
from somatrace.costs.ledger.ledger_entry import LedgerTotals, encoded, ledger_entry
from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import LEDGER

log = logging.getLogger("somatrace")

#: Bytes of a segment; a longer one takes long to compact.
_FULL: Final = 1 << 20
#: Seconds after which what was written is synced.
_SYNC_AFTER: Final = 0.1
#: Seconds before a directory that could not be written is tried again.
_RETRY: Final = 5.0
#: Keys that wait in memory while nothing can be written.
_MOST_WAITING: Final = 10_000


class CostLedger:
    """Used by the worker's thread. What was written survives `kill -9` at once, and is synced soon after."""

    def __init__(self, data_dir: Callable[[], Path | None], tag_keys: Sequence[str] = ()) -> None:
        """Nothing is created before the first call. `tag_keys` names attributes that entries keep as tags."""
        self._data_dir = data_dir
        self._tag_keys = tuple(tag_keys)
        self._directory: Path | None = None
        self._file: SegmentFile | None = None
        self._reset()

    def _reset(self) -> None:
        self._waiting = LedgerTotals()
        self._writer = {"writer": os.urandom(8).hex(), "pid": os.getpid()}
        self._unsynced_since: float | None = None
        self._not_before = 0.0
        #: Calls that found no room in memory while nothing could be written.
        self.lost = 0
        #: Why nothing can be written; "" while it can.
        self.problem = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why nothing can be written, and what is missing because of that."""
        missing = (
            f"cost ledger: {self.lost} calls found no room in memory, and are missing" if self.lost else ""
        )
        return tuple(filter(None, (self.problem, missing)))

    def forget(self) -> None:
        """Begin anew in a forked child: what waits is the parent's, and so is its segment."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self._reset()

    def add(self, attributes: Mapping[str, Any], service: str, status: int, start_ns: int) -> None:
        """Note an ended span with these guarded attributes; `status` is the OTLP code."""
        found = ledger_entry(attributes, service, status, start_ns, self._tag_keys)
        if found is None:
            return
        if found[0] not in self._waiting and len(self._waiting) >= _MOST_WAITING:
            self.lost += found[1].calls
            return
        self._waiting.add(*found)

    def write(self) -> float | None:
        """Write down what waits, and sync what has waited for it; returns the seconds until there is more to
        do, or None."""
        now = clock.monotonic()
        if self._waiting and (not self.problem or now >= self._not_before):
            try:
                self._append()
                self.problem = ""
            except (OSError, ValueError) as error:
                self._failed(error)
        if self._waiting:
            return max(0.0, self._not_before - clock.monotonic())
        if self._unsynced_since is None:
            return None
        left = self._unsynced_since + _SYNC_AFTER - clock.monotonic()
        if left > 0:
            return left
        self._sync()
        return None

    def close(self) -> None:
        """Write down and sync the rest. The segment is complete."""
        self._not_before = 0.0
        self.write()
        self._sync()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self) -> None:
        payload = encoded(self._waiting.items())
        now_ns = clock.time_ns()
        file = self._file
        if file is None or not file.has_room(len(payload), _FULL) or not file.is_usable(now_ns):
            file = self._begin(now_ns)
        file.append(payload, sum(sums.calls for sums in self._waiting.values()), now_ns, LEDGER)
        self._waiting.clear()
        if self._unsynced_since is None:
            self._unsynced_since = clock.monotonic()

    def _begin(self, now_ns: int) -> SegmentFile:
        """Complete the segment, if there is one, and begin another one."""
        directory, spool = open_ledger(self._found(), create=True)
        try:
            self._finish(spool)
            with contextlib.suppress(OSError):  # others may merge later
                merge(directory, spool, self._writer)
            self._file = SegmentFile.create(directory, spool, self._writer, now_ns)
        finally:
            os.close(spool)
        return self._file

    def _finish(self, spool: int) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if file.is_in_place:
                compact(file, spool, self._writer)
        except OSError as error:
            log.debug("cost ledger: not compacted: %s", type(error).__name__)
        finally:
            file.close()

    def _found(self) -> Path:
        if self._directory is None:
            self._directory = self._data_dir()
        if self._directory is None:
            raise OSError("no directory is writable; set SOMATRACE_DATA_DIR to one that is")
        return self._directory

    def _sync(self) -> None:
        self._unsynced_since = None
        if self._file is not None:
            with contextlib.suppress(OSError):  # as good as a machine that loses power in this moment
                self._file.sync()

    def _failed(self, error: Exception) -> None:
        self._not_before = clock.monotonic() + _RETRY
        known = self.problem
        reason = str(error) if type(error) is OSError and error.errno is None else _reason(error)
        self.problem = f"cost ledger: {reason}; what calls cost waits in memory"
        if self.problem != known:
            with contextlib.suppress(Exception):
                log.warning("%s", self.problem)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else type(error).__name__
