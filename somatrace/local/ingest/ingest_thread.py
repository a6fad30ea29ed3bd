"""The server's thread that takes in segments soon after they are written, also while nobody looks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from typing import Final

from somatrace.local.ingest.page_priority import PagePriority
from somatrace.local.ingest.segment_ingest import SegmentIngest
from somatrace.local.otlp.decode import DecodedSpan
from somatrace.runtime.clock import clock

_log = logging.getLogger("somatrace.local")

#: Seconds between two looks at the directory, after a failure, and between two that also delete segments.
_EVERY: Final = 0.03
_AFTER_FAILURE: Final = 1.0
_CLEANUP: Final = 5.0
#: Seconds of one run, and those for which it waits for pages.
_RUN: Final = 1.0
_MAX_WAIT: Final = 0.1


class IngestThread:
    """Runs between `start` and `stop`."""

    def __init__(self, segments: SegmentIngest, priority: PagePriority) -> None:
        self._segments = segments
        self._priority = priority
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._work, name="somatrace-ingest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the run in progress has ended."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        wait, cleaned = 0.0, float("-inf")
        while not self._stopped.wait(wait):
            now = clock.monotonic()
            is_clean = now - cleaned < _CLEANUP
            try:
                done = True
                if not is_clean or self._segments.waiting():
                    done = self._segments.run(_RUN, self._paced)
                    cleaned = now
            except Exception as error:  # the thread must survive
                done = False
                _log.warning("reading waiting spans into the local store failed: %s", type(error).__name__)
            wait = _EVERY if done else _AFTER_FAILURE

    def _paced(self, spans: Iterable[DecodedSpan]) -> Iterator[DecodedSpan]:
        """Let pages go first, as batches over HTTP do."""
        return self._priority.budget(_MAX_WAIT).between(spans)
