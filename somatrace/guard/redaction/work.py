"""The work of redaction for all texts of one span or log record, in characters examined.

One text takes at most MAX_EXAMINED characters each time it is searched. A span can have many texts: above
MAX_WORK its further texts are removed, which depends on the texts and their order alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from somatrace.guard.detection.engine import MAX_EXAMINED

MAX_WORK: Final = 4 * MAX_EXAMINED


class Work:
    """The characters examined so far."""

    __slots__ = ("examined",)

    def __init__(self) -> None:
        self.examined = 0


_current: Final[ContextVar[Work | None]] = ContextVar("somatrace_redaction_work", default=None)


@contextmanager
def shared_work(work: Work) -> Iterator[None]:
    """Count the work of all texts in this block together."""
    token = _current.set(work)
    try:
        yield
    finally:
        _current.reset(token)


def count(characters: int) -> None:
    """Count characters examined for the block."""
    work = _current.get()
    if work is not None:
        work.examined += characters


def is_exhausted() -> bool:
    """Whether the texts of the block have taken MAX_WORK."""
    work = _current.get()
    return work is not None and work.examined > MAX_WORK
