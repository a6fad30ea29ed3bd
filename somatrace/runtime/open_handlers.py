"""Keep log lines away from handlers whose stream is closed.

Background threads still log when a program ends. pytest, for example, has closed the streams of its tests by
then, and a handler that cannot write prints "--- Logging error ---" with a stack to the terminal.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Final

_LOGGERS: Final = ("somatrace", "somatrace.audit")


def skip_closed_handlers() -> None:
    """Make somatrace's loggers skip such handlers. The program's own loggers stay as they are."""
    for logger in map(logging.getLogger, _LOGGERS):
        if "callHandlers" not in vars(logger):
            call = functools.partial(_call_open_handlers, logger)
            logger.callHandlers = call  # type: ignore[method-assign]


def _call_open_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    handlers = list(_handlers(logger))
    if not any(map(_is_closed, handlers)):
        type(logger).callHandlers(logger, record)  # at its class, where other tools may have wrapped it
        return
    for handler in handlers:
        if record.levelno >= handler.level and not _is_closed(handler):
            handler.handle(record)


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _is_closed(handler: logging.Handler) -> bool:
    return getattr(getattr(handler, "stream", None), "closed", False) is True
