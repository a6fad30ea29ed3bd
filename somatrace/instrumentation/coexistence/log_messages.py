"""The message of a log line while content is off: without the texts of exceptions.

A line written while an exception is handled, or with one among its arguments, can quote any part of it.
Such a line keeps its template if that is a literal of the code, with each argument replaced by its type.
Other lines are the program's own words.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, Final

from somatrace.runtime.type_names import type_name

#: Frames between the call of an OpenTelemetry logger and the handler of `logging` that makes it.
_MAX_HANDLER: Final = 8
#: Frames between a handler and the code that logs, with room for wrappers of `logging`.
_MAX_CALLERS: Final = 24
_LOGGING: Final = logging.makeLogRecord.__code__.co_filename
_STACK: Final = "Traceback (most recent call last)"
#: Types of arguments that cannot hold an exception. Their subclasses may.
_DATA: Final = frozenset(
    {"str", "int", "float", "bool", "complex", "bytes", "NoneType", "type"}
    | {"UUID", "date", "datetime", "time", "timedelta", "Decimal", "Fraction", "PosixPath", "WindowsPath"}
)
_MODULES: Final = frozenset(
    {"builtins", "uuid", "datetime", "decimal", "fractions", "pathlib", "pathlib._local"}
)
_MAX_DEPTH: Final = 4
_MAX_ITEMS: Final = 64
_NUMBERS: Final = (bool, int, float, type(None))


class LogLine:
    """The log line of `logging` that is being exported."""

    def __init__(self, record: logging.LogRecord, frame: FrameType) -> None:
        self.record = record
        self._frame = frame

    @property
    def error(self) -> BaseException | None:
        """The exception logged with the line, if any."""
        info = self.record.exc_info
        found = info[1] if isinstance(info, tuple) and len(info) > 1 else None
        return found if isinstance(found, BaseException) else None

    def exceptions(self) -> Iterator[BaseException]:
        """The exceptions among the message, its arguments and the extra values, and the one being logged."""
        for value in (self.error, *vars(self.record).values()):
            yield from _exceptions(value, 0)

    def quotes_nothing(self, body: str) -> bool:
        """Whether the line is certain to have no text of an exception that it could have been made of."""
        record = self.record
        # a line handed to another thread has left its exception and its arguments behind
        handed_over = record.thread != threading.get_ident() or record.process != os.getpid()
        at_hand = record.exc_info or record.exc_text or sys.exc_info()[1] is not None
        if handed_over or at_hand or _STACK in body or type(record.msg) is not str:
            return False
        if not _is_data(record.args, 0):
            return False
        return next(self.exceptions(), None) is None

    def template(self) -> str | None:
        """The message with arguments by type, if it is a literal of the code that logs."""
        message = self.record.msg
        if type(message) is not str or not self._is_literal(message):
            return None
        args: Any = self.record.args
        if not args:
            return message
        try:
            if isinstance(args, Mapping):
                return message % {key: _by_type(value) for key, value in args.items()}
            return message % tuple(map(_by_type, args))
        except Exception:  # a number's format, and an argument that is none
            return message

    def _is_literal(self, message: str) -> bool:
        return any(message in frame.f_code.co_consts for frame in _outwards(self._frame, _MAX_CALLERS))


def current_line() -> LogLine | None:
    """The log line whose handler calls an OpenTelemetry logger; None for calls that are not made by one."""
    for frame in _outwards(sys._getframe(1), _MAX_HANDLER):
        if frame.f_code.co_filename == _LOGGING and "record" in frame.f_code.co_varnames:
            record = frame.f_locals.get("record")
            return LogLine(record, frame) if isinstance(record, logging.LogRecord) else None
    return None


def _outwards(frame: FrameType | None, most: int) -> Iterator[FrameType]:
    for _ in range(most):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _is_data(value: object, depth: int) -> bool:
    """Whether a value is text, a number, a date and the like, or a collection of those."""
    kind = type(value)
    if kind in (tuple, list, set, frozenset):
        items = list(value)  # type: ignore[call-overload]
        return (
            depth < _MAX_DEPTH and len(items) <= _MAX_ITEMS and all(_is_data(one, depth + 1) for one in items)
        )
    if kind is dict:
        return _is_data([*value], depth) and _is_data([*value.values()], depth)  # type: ignore[misc, attr-defined]
    return kind.__name__ in _DATA and kind.__module__ in _MODULES


def _exceptions(value: object, depth: int) -> Iterator[BaseException]:
    kind = type(value)
    if issubclass(kind, BaseException):
        yield value  # type: ignore[misc]
        return
    if depth >= _MAX_DEPTH:
        return
    if kind is dict:
        value = [*value.values()]  # type: ignore[attr-defined]
    elif kind not in (tuple, list):
        return
    for one in value[:_MAX_ITEMS]:  # type: ignore[index]
        yield from _exceptions(one, depth + 1)


def _by_type(argument: object) -> object:
    """Numbers, and the names of the types of everything else."""
    return argument if type(argument) in _NUMBERS else f"<{type_name(argument)}>"
