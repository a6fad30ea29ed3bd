"""The state of each library's instrumentation, for `status()`: nothing fails silently."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, Final

log = logging.getLogger("somatrace")

WAITING: Final = "waiting for import"
ON: Final = "on"
_UNSEEN: Final = "whose import no hook sees"


class Coverage:
    """Each library's state: waiting for its import, on, off for a reason, or failed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._awaited: dict[str, set[str]] = {}
        self._problems: list[str] = []

    def waits(self, library: str, module: str) -> None:
        """Record that `library` is instrumented when the program imports `module`."""
        with self._lock:
            self._states[library] = WAITING
            self._awaited.setdefault(library, set()).add(module)

    def imported(self, library: str, module: str) -> None:
        """Record that the import of `module` was seen."""
        with self._lock:
            self._awaited.get(library, set()).discard(module)

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
            states = dict(self._states)
            awaited = {name: sorted(self._awaited.get(name, ())) for name in states}
        for library, modules in awaited.items():
            reasons = [reason for module in modules if (reason := _unseen(module))]
            if reasons and states[library] == WAITING:
                states[library] = f"off: {reasons[0]}"
        return states

    @property
    def problems(self) -> tuple[str, ...]:
        unseen = [
            f"{library}: {state.removeprefix('off: ')}; its calls are not traced"
            for library, state in self.states.items()
            if state.endswith(_UNSEEN)
        ]
        with self._lock:
            return (*self._problems, *unseen)


def _unseen(module: str) -> str:
    """The reason why a loaded module's import was not seen; "" if it is not loaded, or not yet completely."""
    loaded: Any = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None)
    if loaded is None or getattr(spec, "_initializing", False) is True:
        return ""
    if getattr(loaded, "__file__", None) is None and hasattr(loaded, "__path__"):
        return f"the installed version is a namespace package, {_UNSEEN}"
    return f"it was put into sys.modules, {_UNSEEN}"
