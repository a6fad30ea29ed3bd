"""Keep runs under `coverage run` short: tests that repeat what others have reached are not measured."""

from __future__ import annotations

import os
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

#: Cases of a parametrized test in a row that reach no new line or branch before most others are skipped.
ENOUGH: Final = 6
#: One in so many of the others is measured all the same. If it reaches something new, so are the next ones.
SAMPLE: Final = 8
#: What makes Python programs that a test starts measure themselves.
CHILDREN: Final = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


class MeasuredTests:
    """A pytest plugin that measures each test, but only a sample of the cases of one that repeats itself.

    Python runs several times slower while it is measured. What only an unmeasured test reaches counts as not
    reached: the share can become smaller by this, and never larger.
    """

    def __init__(self, measuring: Any) -> None:
        self._measuring = measuring
        self._repeated: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        test, _, case = item.nodeid.partition("[")
        if "unmeasured" in getattr(item, "fixturenames", ()) or (case and self._is_skipped(test, case)):
            with unmeasured():
                return (yield)
        before = self._reached()
        result = yield
        self._repeated[test] = 0 if self._reached() > before else self._repeated[test] + 1
        return result

    def _is_skipped(self, test: str, case: str) -> bool:
        return self._repeated[test] >= ENOUGH and zlib.crc32(case.encode()) % SAMPLE != 0

    def _reached(self) -> int:
        return sum(map(len, list(self._measuring._collector.data.values())))


@contextmanager
def unmeasured() -> Iterator[None]:
    """Switch measurement off in this thread, the threads that it starts, and the programs that it starts."""
    here, threads = sys.gettrace(), threading.gettrace()
    programs = {name: os.environ.pop(name) for name in CHILDREN if name in os.environ}
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        os.environ.update(programs)
        threading.settrace(threads)  # type: ignore[arg-type]
        sys.settrace(here)
