"""A bound on what cannot be interrupted, such as the look-up of a host name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Overdue(Exception):  # noqa: N818 - it is no error of the program's
    """The time was over; the work goes on on a thread that does not keep the process alive."""


def bounded(work: Callable[[], Result], seconds: float) -> Result:
    """What `work` returns or raises, or `Overdue` after so many seconds."""
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="somatrace-bounded", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if not results:
        raise Overdue
    return results[0]
