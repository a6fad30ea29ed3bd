"""Time limit for calls that cannot be interrupted, such as host name lookups."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Overdue(Exception):  # noqa: N818 - an outcome, not a program error
    """The time limit has passed. The work continues on a daemon thread."""


def bounded(work: Callable[[], Result], seconds: float) -> Result:
    """Return or raise the result of `work`; raise `Overdue` if it takes longer than `seconds`."""
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
