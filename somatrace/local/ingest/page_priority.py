"""Priority of page requests over ingest: a person waits for a page, an exporter does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

#: items between two checks for a page in progress: about a millisecond of work on spans
_ITEMS_PER_CHECK: Final = 32

Item = TypeVar("Item")


class PagePriority:
    """Makes batches wait while pages are in progress."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pages = 0

    @contextmanager
    def page(self) -> Iterator[None]:
        """Count as a page in progress for the block."""
        with self._changed:
            self._pages += 1
        try:
            yield
        finally:
            with self._changed:
                self._pages -= 1
                self._changed.notify_all()

    def budget(self, seconds: float) -> WaitBudget:
        """The wait budget of one batch."""
        return WaitBudget(self, seconds)

    def wait(self, seconds: float) -> None:
        """Return when no page is in progress, after `seconds` at the latest."""
        if self._pages:
            with self._changed:
                self._changed.wait_for(lambda: not self._pages, seconds)


class WaitBudget:
    """The total time that a batch waits for pages."""

    def __init__(self, priority: PagePriority, seconds: float) -> None:
        self._priority = priority
        self._left = seconds

    def wait(self) -> None:
        """Let pages go first while the budget lasts."""
        if self._left > 0:
            began = time.monotonic()
            self._priority.wait(self._left)
            self._left -= time.monotonic() - began

    def between(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, with a wait before every few of them."""
        for number, item in enumerate(items):
            if number % _ITEMS_PER_CHECK == 0:
                self.wait()
            yield item
