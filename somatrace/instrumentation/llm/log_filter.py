"""What instrumentors log about calls they could not record: never the calls' content."""

from __future__ import annotations

import logging
import sys
from typing import Any


def withhold(package: str) -> None:
    """Take tracebacks and errors out of what the loaded modules of `package` log: they quote arguments."""
    for name in list(sys.modules):
        if name == package or name.startswith(package + "."):
            logger = logging.getLogger(name)
            if _withheld not in logger.filters:
                logger.addFilter(_withheld)


def _withheld(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_tame, record.args))
    if record.exc_info:
        record.exc_info, record.exc_text = None, None
    return True


def _tame(argument: Any) -> Any:
    if isinstance(argument, BaseException):
        return type(argument).__name__
    if isinstance(argument, str) and argument.lstrip().startswith("Traceback (most recent call last)"):
        return "a traceback, withheld because it may quote content"
    return argument
