"""Differences that are meant, each with its reason, and tests that are flaky without tracing."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarks.differential.outcomes import Difference


@dataclass(frozen=True)
class Explained:
    """Tests of a suite that may differ. `test` may have wildcards; `modes` are those in which it does."""

    suite: str
    test: str
    reason: str
    modes: tuple[str, ...] = ("none", "full")


EXPLAINED: tuple[Explained, ...] = ()

#: tests that have failed without tracing as well, but too rarely for two runs to show it
FLAKY: dict[str, tuple[str, ...]] = {}


def explanation(suite: str, difference: Difference, table: tuple[Explained, ...] = EXPLAINED) -> str | None:
    """The reason why the test may differ, if it may."""
    for row in table:
        # brackets of parameters are not wildcards
        pattern = row.test.replace("[", "[[]")
        if row.suite == suite and difference.mode in row.modes and fnmatchcase(difference.test, pattern):
            return row.reason
    return None
