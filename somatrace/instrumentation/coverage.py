"""The state of each library's instrumentation, for `status()`: nothing fails silently."""

from __future__ import annotations

import logging
import threading
from typing import Final

log = logging.getLogger("somatrace")

WAITING: Final = "waiting for import"
ON: Final = "on"


class Coverage:
    """Each library's state: waiting for its import, on, off for a reason, or failed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._problems: list[str] = []

    def set(self, library: str, state: str) -> None:
        with self._lock:
            self._states[library] = state

    def failed(self, library: str, error: BaseException) -> None:
        """Record that its instrumentation did not load: one log line and an entry in `status().problems`."""
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        self.set(library, f"failed ({reason})")
        self.problem(f"{library}: its instrumentation failed to load ({reason}); its calls are not traced")

    def problem(self, line: str) -> None:
        with self._lock:
            if line in self._problems:
                return
            self._problems.append(line)
        log.warning("%s", line)

    @property
    def states(self) -> dict[str, str]:
        with self._lock:
            return dict(self._states)

    @property
    def problems(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._problems)
