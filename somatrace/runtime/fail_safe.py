"""Where our code runs in the program's own flow: a fault of it costs a note in a trace, never the program."""

from __future__ import annotations

import logging
import signal
import threading
from types import TracebackType
from typing import Final

log = logging.getLogger("somatrace")
_complained: Final[set[tuple[str, str]]] = set()


class fail_safe:  # noqa: N801 - reads as what it makes of a block: `with harmless("event"):`
    """A block whose exceptions end with it, with one log line for each `what` and type.

    Only `Exception`: a cancellation or an interrupt is the program's. So is what a signal handler of the
    program raises while our code happens to run (Celery's soft time limit does).
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or from_a_signal(error):
            return False
        said = self._what, type(error).__name__
        if said not in _complained and len(_complained) < 100:
            _complained.add(said)
            log.warning("%s: %s in tracing; the program is not affected", *said)
        return True


def from_a_signal(error: BaseException) -> bool:
    """Whether one of the program's signal handlers raised `error`: then it is not ours to keep."""
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
    """`str(value)`; of what has none, its type."""
    if type(value) is str:
        return value
    with fail_safe("str"):
        return str(value)
    return type(value).__name__
