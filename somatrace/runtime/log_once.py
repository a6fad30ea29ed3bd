"""Log each warning once, so that a repeated fault does not flood the program's log."""

from __future__ import annotations

import logging
from collections.abc import Hashable

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
        log.warning(message, *args, stacklevel=2)
