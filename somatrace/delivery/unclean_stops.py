"""Report earlier processes that were killed or have crashed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping

from somatrace.delivery.journal_entry import Contents

log = logging.getLogger("somatrace")


class UncleanStops:
    """Each such process once, whatever the number of its segments."""

    def __init__(self, own: Mapping[str, object], on_stop: Callable[[], None]) -> None:
        """`own` describes this process in its segments. `on_stop` is called for each process."""
        self._known = {own["writer"]}
        self._on_stop = on_stop

    def report(self, contents: Contents, spans: int) -> None:
        """Note a segment that is taken over, with so many spans."""
        writer = contents.writer.get("writer")
        if contents.is_left or writer is None or writer in self._known:
            return
        self._known.add(writer)
        self._on_stop()
        with contextlib.suppress(Exception):  # a handler, or a clock that the program has replaced, may raise
            log.log(
                logging.WARNING if spans or contents.damaged else logging.INFO,
                "an earlier process (pid %s) was killed or has crashed: %d spans of its oldest file "
                "are taken over, %d are damaged; those of its last tenth of a second are lost",
                contents.writer.get("pid"),
                spans,
                contents.damaged,
            )
