"""The work of redaction for all texts of one span or log record, in characters examined.

One text takes at most MAX_EXAMINED characters each time it is searched. A span can have many texts: above
MAX_WORK its further texts are removed, which depends on the texts and their order alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from somatrace.guard.detection.engine import MAX_EXAMINED

MAX_WORK: Final = 4 * MAX_EXAMINED


class Work:
    """The characters examined so far."""

    __slots__ = ("examined",)

    def __init__(self) -> None:
        self.examined = 0


class _Current(threading.local):
    """The work of the block that a thread is in."""

    work: Work | None = None


_current: Final = _Current()


@contextmanager
def shared_work(work: Work) -> Iterator[None]:
    """Count the work of all texts in this block, on this thread, together."""
    around, _current.work = _current.work, work
    try:
        yield
    finally:
        _current.work = around


def count(characters: int) -> None:
    """Count characters examined for the block."""
    work = _current.work
    if work is not None:
        work.examined += characters


def is_exhausted() -> bool:
    """Whether the texts of the block have taken MAX_WORK."""
    work = _current.work
    return work is not None and work.examined > MAX_WORK
