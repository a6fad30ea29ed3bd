"""The functions of `time` as Python has made them.

Programs and their tests replace these functions: a clock may be frozen, jump, or raise, also while somatrace
is imported. Deadlines then would never come, so no module of a traced process calls `time.monotonic` and the
others directly. Timestamps of
spans stay those of the SDK, which follow the program's clock.
"""

from __future__ import annotations

import datetime as dt
import time as given
from collections.abc import Callable
from importlib import util
from types import ModuleType
from typing import Final, NamedTuple

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Clock(NamedTuple):
    """Clock functions. Tools like freezegun replace the attributes of modules, not those of objects."""

    #: For deadlines and durations.
    monotonic: Callable[[], float]
    perf_counter_ns: Callable[[], int]
    #: Wall time, for dates only.
    time: Callable[[], float]
    time_ns: Callable[[], int]
    sleep: Callable[[float], None]

    def now(self) -> dt.datetime:
        """The date and time in UTC."""
        return _EPOCH + dt.timedelta(seconds=self.time())


def _unchanged() -> ModuleType:
    """The module `time`, made once more: the functions of the first one may be replaced already."""
    spec = util.find_spec("time")
    if spec is None or spec.loader is None:
        return given
    made = util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


time: Final = _unchanged()
clock: Final = Clock(time.monotonic, time.perf_counter_ns, time.time, time.time_ns, time.sleep)
