"""Pages before batches: a person waits for a page, and a sender for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

#: items between two looks whether a page is under way: about a millisecond of work on spans
_AT_A_TIME: Final = 32

Item = TypeVar("Item")


class PagePriority:
    """Lets one kind of work wait, again and again, while the other is under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pages = 0

    @contextmanager
    def page(self) -> Iterator[None]:
        """Count as a page for the block."""
        with self._changed:
            self._pages += 1
        try:
            yield
        finally:
            with self._changed:
                self._pages -= 1
                self._changed.notify_all()

    def patience(self, seconds: float) -> WaitBudget:
        """What one batch has of it."""
        return WaitBudget(self, seconds)

    def wait(self, seconds: float) -> None:
        """Return when no page is under way, after `seconds` at the latest."""
        if self._pages:
            with self._changed:
                self._changed.wait_for(lambda: not self._pages, seconds)


class WaitBudget:
    """How long a batch still waits for pages, all in all."""

    def __init__(self, turns: PagePriority, seconds: float) -> None:
        self._turns = turns
        self._left = seconds

    def wait(self) -> None:
        """Let pages go first while there is patience left."""
        if self._left > 0:
            began = time.monotonic()
            self._turns.wait(self._left)
            self._left -= time.monotonic() - began

    def between(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with a wait before every few of them."""
        for number, item in enumerate(items):
            if number % _AT_A_TIME == 0:
                self.wait()
            yield item
