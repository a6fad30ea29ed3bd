"""Pages before batches: a person waits for a page, and a sender for nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets the start of one kind of work wait until none of the other is under way."""

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

    def after_pages(self, seconds: float) -> None:
        """Return when no page is under way, after `seconds` at the latest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pages, seconds)
