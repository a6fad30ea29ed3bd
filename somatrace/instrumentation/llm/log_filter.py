"""Keep the content of calls and of requests' headers out of log lines and output of telemetry libraries."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import FrameType, FunctionType
from typing import Any, Final

from somatrace.instrumentation.loaded_modules import modules_of

#: Loggers of libraries that quote what they handle: calls, traces of errors, `tracestate`, baggage.
_QUOTING: Final = (
    "openinference",
    "opentelemetry.baggage",
    "opentelemetry.instrumentation",
    "opentelemetry.propagate",
    "opentelemetry.propagators",
    "opentelemetry.trace",
    "traceloop",
)
_WITHHELD: Final = "a message, withheld because it may quote content"
#: Frames between a caller and the factory of log records, with room for wrappers of `logging`.
_MAX_FRAMES: Final = 16
_GIVEN: Final = 7


def install() -> None:
    """Wrap the factory of log records, which is the one place that all of those loggers pass."""
    inner = logging.getLogRecordFactory()
    if getattr(inner, "withholds_content", False):
        return

    def factory(*given: Any, **named: Any) -> logging.LogRecord:
        # given by `logging`: name, level, path, line, message, arguments, exception
        if len(given) >= _GIVEN and type(given[0]) is str and _quotes(given[0]):
            try:
                message, arguments = _without_content(given[4], given[5], _caller(given[2], given[3]))
            except Exception:
                message, arguments = _WITHHELD, ()
            given = (*given[:4], message, arguments, None, *given[_GIVEN:])
        return inner(*given, **named)

    factory.withholds_content = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)


def silence_prints(package: str) -> None:
    """Keep the loaded modules of an instrumentor from printing: some print the events they cannot place."""
    for _, module in modules_of(package):
        vars(module).setdefault("print", _print_nothing)


def _print_nothing(*_: object, **__: object) -> None:
    """Replaces `print`."""


def _quotes(logger: str) -> bool:
    return any(logger == prefix or logger.startswith(prefix + ".") for prefix in _QUOTING)


def _caller(path: str, line: int) -> FrameType | None:
    """The frame that logs, as `logging` found it."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_MAX_FRAMES):
        if frame is None or (frame.f_code.co_filename == path and frame.f_lineno == line):
            return frame
        frame = frame.f_back
    return None


def _without_content(message: Any, args: Any, caller: FrameType | None) -> tuple[str, Any]:
    """A message that is a literal of the code, with arguments that quote nothing."""
    if caller is None or type(message) is not str or message not in caller.f_code.co_consts:
        return _WITHHELD, ()
    if not isinstance(args, tuple):
        return _WITHHELD, ()
    names = {value.__name__ for value in caller.f_locals.values() if type(value) is FunctionType}
    if len(args) == 1 and isinstance(args[0], Mapping) and "%(" in message:
        return message, ({key: _cleaned(value, names) for key, value in args[0].items()},)
    return message, tuple(_cleaned(argument, names) for argument in args)


def _cleaned(argument: Any, names: set[str]) -> Any:
    """Numbers, types and the names of functions stay; the rest is replaced by its type."""
    if argument is None or type(argument) in (bool, int, float):
        return argument
    if type(argument) is str and argument in names:
        return argument
    if isinstance(argument, BaseException):
        return type(argument).__name__
    return argument.__name__ if isinstance(argument, type) else f"[{type(argument).__name__}, withheld]"
