"""Batches that could not be written down, such as on a full disk, and are once there is room again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from somatrace.delivery.batch import Batch
from somatrace.runtime.clock import clock

if TYPE_CHECKING:
    from somatrace.delivery.journal import Journal

#: Batches, and bytes of them, that are written in one step: new ones wait meanwhile.
_MOST: Final = 64
_MOST_BYTES: Final = 1 << 20
#: Seconds before a batch is tried again that could not be written while others were.
_RETRY: Final = 5.0


class LateRecords:
    """Used by the thread that writes."""

    def __init__(self) -> None:
        #: Whether there may be batches in memory only.
        self.are_missing = False
        self._not_before = 0.0

    def step(
        self, journal: Journal, missing: Callable[[], list[Batch]], write: Callable[[Batch], bool]
    ) -> float | None:
        """Write some of the `missing` batches, oldest first; return the seconds until the next step, or None.

        While nothing can be written the smallest one is tried. One for which there is no room while there is
        for others keeps neither them nor new ones waiting.
        """
        if not self.are_missing:
            return None
        if (wait := self._wait(journal)) > 0:
            return wait
        self.are_missing = False
        batches = sorted(missing(), key=lambda batch: batch.is_refused)
        if journal.problem and batches:
            batches.insert(0, min(batches, key=lambda batch: batch.size))
        size = 0
        for number, batch in enumerate(batches):
            self.are_missing = True
            if number >= _MOST or size >= _MOST_BYTES:
                break
            size += batch.size
            if not batch.entries and not write(batch):
                batch.is_refused = not journal.problem
                self._not_before = clock.monotonic() + (_RETRY if batch.is_refused else 0.0)
                break
        return max(0.0, self._wait(journal)) if self.are_missing else None

    def _wait(self, journal: Journal) -> float:
        return max(journal.retry_in, self._not_before - clock.monotonic())
