"""Log each warning once and each problem when it begins: a repeated fault does not flood the log."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from contextlib import suppress

log = logging.getLogger("somatrace")


class LogOnce:
    """Logs one warning per key, for at most `limit` keys (None: no limit)."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._logged: set[Hashable] = set()

    def warning(self, key: Hashable, message: str, *args: object) -> None:
        """Log `message` unless a warning with this key has been logged."""
        if key in self._logged or (self._limit is not None and len(self._logged) >= self._limit):
            return
        self._logged.add(key)
        _warn(message, *args)


class CurrentProblem:
    """A problem that may end: logged when it begins, and with `each_change` also when its text changes."""

    def __init__(self, *, each_change: bool) -> None:
        self._each_change = each_change
        self.line = ""

    def set(self, line: str) -> None:
        """Make `line` the current problem; "" means that there is none."""
        if line and (not self.line or (self._each_change and line != self.line)):
            _warn("%s", line)
        self.line = line


def _warn(message: str, *args: object) -> None:
    # a filter, a record factory or a clock of the program may raise; this runs where nothing else may
    with suppress(Exception):
        log.warning(message, *args, stacklevel=3)
