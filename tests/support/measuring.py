"""Keep runs under `coverage run` short: what repeats itself is measured in part."""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

#: Cases of a test in a row that reach no new line or branch before most others are not measured.
ENOUGH: Final = 10
#: One in so many of the others is measured all the same. If it reaches something new, so are the next ones.
SAMPLE: Final = 5
#: What makes Python programs that a test starts measure themselves.
PROGRAMS: Final = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


class MeasuredTests:
    """A pytest plugin that measures each test, but only a sample of its cases once they repeat each other.

    Cases are those of a parametrized test, and the examples of hypothesis. Python runs several times slower
    while it is measured. What only an unmeasured case reaches counts as not reached: the share can become
    smaller by this, and never larger. Fixtures and other threads are always measured.
    """

    def __init__(self, measuring: Any) -> None:
        self._measuring = measuring
        self._seen: Counter[str] = Counter()
        self._repeated: Counter[str] = Counter()
        self._wrapped: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        tracer = sys.gettrace()
        test, _, case = item.nodeid.partition("[")
        examples = getattr(getattr(item, "obj", None), "hypothesis", None)
        if "unmeasured" in getattr(item, "fixturenames", ()):
            with unmeasured():
                return (yield)
        if examples is not None:
            if test not in self._wrapped:
                self._wrapped.add(test)
                examples.inner_test = self._sampled(test, examples.inner_test, tracer)
            with traced_by(None):  # hypothesis itself takes most of the time
                return (yield)
        if case and not self._is_next_measured(test):
            with unmeasured():
                return (yield)
        with self._watched(test):
            return (yield)

    def _sampled(self, test: str, inner: Callable[..., object], tracer: Any) -> Callable[..., object]:
        @functools.wraps(inner)
        def example(*args: object, **kwargs: object) -> object:
            if not self._is_next_measured(test):
                return inner(*args, **kwargs)
            with self._watched(test), traced_by(tracer):
                return inner(*args, **kwargs)

        return example

    def _is_next_measured(self, test: str) -> bool:
        self._seen[test] += 1
        return self._repeated[test] < ENOUGH or self._seen[test] % SAMPLE == 0

    @contextmanager
    def _watched(self, test: str) -> Iterator[None]:
        before = self._reached()
        yield
        self._repeated[test] = 0 if self._reached() > before else self._repeated[test] + 1

    def _reached(self) -> int:
        return sum(map(len, list(self._measuring._collector.data.values())))


@contextmanager
def traced_by(tracer: Any) -> Iterator[None]:
    """Set this thread's trace function for a block."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Measure neither this thread nor the programs that it starts."""
    programs = {name: os.environ.pop(name) for name in PROGRAMS if name in os.environ}
    try:
        with traced_by(None):
            yield
    finally:
        os.environ.update(programs)
