"""Keep the content of calls out of the log lines of instrumentors."""

from __future__ import annotations

import logging
import sys
from typing import Any


def filter_logs(package: str) -> None:
    """Remove tracebacks and error texts from the logs of `package`'s loaded modules: they quote arguments."""
    for name in list(sys.modules):
        if name == package or name.startswith(package + "."):
            logger = logging.getLogger(name)
            if _without_content not in logger.filters:
                logger.addFilter(_without_content)


def _without_content(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_cleaned, record.args))
    if record.exc_info:
        record.exc_info, record.exc_text = None, None
    return True


def _cleaned(argument: Any) -> Any:
    if isinstance(argument, BaseException):
        return type(argument).__name__
    if isinstance(argument, str) and argument.lstrip().startswith("Traceback (most recent call last)"):
        return "a traceback, withheld because it may quote content"
    return argument
