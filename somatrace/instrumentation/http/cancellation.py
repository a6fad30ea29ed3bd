"""Canceled tasks, without an import of asyncio, which takes long."""

from __future__ import annotations

import sys


def is_cancellation(error: BaseException) -> bool:
    """Whether the error is that of a canceled task; without asyncio there is none."""
    known = getattr(sys.modules.get("asyncio.exceptions"), "CancelledError", None)
    return known is not None and isinstance(error, known)
