"""Keep faults in somatrace's own code from reaching the host program."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Final

from somatrace.runtime.log_once import LogOnce
from somatrace.runtime.type_names import type_name

_warnings: Final = LogOnce(limit=100)


class fail_safe:  # noqa: N801 - reads as a verb phrase: `with fail_safe("event"):`
    """Suppress exceptions of a block, with one log line per `operation` and exception type.

    Only `Exception` is suppressed: cancellations and interrupts belong to the program. So do exceptions
    that its signal handlers raise while the block happens to run (as Celery's soft time limit does).
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(error, Exception) and is_suppressed(self._operation, error)


def is_suppressed(operation: str, error: Exception) -> bool:
    """Whether `fail_safe` suppresses `error`; if so, it is logged.

    For `except` clauses in methods that run so often that the `with` block would be the larger part.
    """
    if from_a_signal(error):
        return False
    fault = operation, type_name(error)
    _warnings.warning(fault, "%s: %s in tracing; the program is not affected", *fault)
    return True


def from_a_signal(error: BaseException) -> bool:
    """Whether one of the program's signal handlers raised `error`, which must then propagate."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def text_of(value: object) -> str:
    """`str(value)`, or the name of its type if that fails."""
    if type(value) is str:
        return value
    with fail_safe("str"):
        return str(value)
    return type_name(value)
