"""Wrong calls of the public API: ignored, since tracing never raises, but never in silence."""

from __future__ import annotations

import logging
import threading
from typing import Final

log = logging.getLogger("somatrace")

#: Different lines kept. They are few: each belongs to a place in the program's code.
_LIMIT: Final = 20
_lock: Final = threading.RLock()  # reentrant: a signal handler may call the API
_lines: Final[dict[str, None]] = {}


def report_misuse(line: str) -> None:
    """Note a wrong call for `status().problems`, with one debug line per different `line`.

    `line` says what was ignored and what to pass instead. It holds no values, which may be content.
    """
    with _lock:
        if line in _lines or len(_lines) >= _LIMIT:
            return
        _lines[line] = None
    log.debug("%s", line, stacklevel=3)


def misuses() -> tuple[str, ...]:
    """The different wrong calls of this process, in order."""
    with _lock:
        return tuple(_lines)
