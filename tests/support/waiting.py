"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

#: Seconds that only end a hang: a busy machine takes many times as long as an idle one.
HANG: Final = 60.0

Found = TypeVar("Found")


def wait_until(holds: Callable[[], Found], seconds: float = HANG) -> Found:
    """Wait until `holds` returns a true value and return it; fail on timeout."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)
    return found
