"""Let langchain's callback handler take every event that a library sends to handlers.

The instrumentor adds its handler to all callback managers, also to those of libraries above langchain, whose
events it does not know: langgraph's `on_interrupt` and `on_resume` were logged as errors of the handler.
"""

from __future__ import annotations

import sys
from typing import Any


def take_unknown_events(package: str) -> None:
    """Make the handler of the instrumentor ignore events without a method of its own."""
    module = sys.modules.get(f"{package}.callback_handler")
    handler = getattr(module, "TraceloopCallbackHandler", None)
    if handler is not None and not hasattr(handler, "__getattr__"):
        handler.__getattr__ = _event


def _event(handler: object, name: str) -> Any:
    if name.startswith("on_"):
        return _ignore
    raise AttributeError(f"{type(handler).__name__!r} object has no attribute {name!r}")


def _ignore(*_: object, **__: object) -> None:
    """Do nothing with an event."""
