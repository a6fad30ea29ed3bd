"""Refuse a Python that is too old, in one line, before any import that needs a newer one.

This module parses on Python 3.7, and imports only `sys`.
"""

import sys

_OLDEST = (3, 11)


def require_python() -> None:
    """End the process with exit code 2 if this Python is older than somatrace supports."""
    if sys.version_info < _OLDEST:
        have = ".".join(str(part) for part in sys.version_info[:2])
        need = ".".join(str(part) for part in _OLDEST)
        sys.stderr.write(f"somatrace needs Python {need} or newer; this is Python {have}.\n")
        raise SystemExit(2)
