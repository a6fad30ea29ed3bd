"""The result of a suite, and the table of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.differential.explained import explanation
from benchmarks.differential.outcomes import Difference

HEADER = (
    "| suite | version | tests | of them passed | flaky, excluded | spans "
    "| differ, content none | differ, content full |"
)
RULE = "|---|---|---:|---:|---:|---:|---:|---:|"


@dataclass
class Result:
    """What the runs of one suite have shown."""

    suite: str
    version: str
    tests: int = 0
    passed: int = 0
    flaky: list[str] = field(default_factory=list)
    spans: int = 0
    differences: list[Difference] = field(default_factory=list)
    #: runs that ended early, or recorded nothing
    problems: list[str] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Difference]:
        return [one for one in self.differences if explanation(self.suite, one) is None]

    @property
    def failed(self) -> bool:
        return bool(self.unexplained or self.problems)

    def row(self) -> str:
        counts = [self._count(mode) for mode in ("none", "full")]
        numbers = [f"{number:,}" for number in (self.tests, self.passed, len(self.flaky), self.spans)]
        return f"| {' | '.join([self.suite, self.version, *numbers, *counts])} |"

    def _count(self, mode: str) -> str:
        every = [one for one in self.differences if one.mode == mode]
        explained = sum(explanation(self.suite, one) is not None for one in every)
        left = str(len(every) - explained)
        return f"{left} (and {explained} explained)" if explained else left


def report(results: Iterable[Result]) -> str:
    """The table, and below it everything that makes the command fail."""
    several = list(results)
    lines = [HEADER, RULE, *(result.row() for result in several)]
    for result in several:
        lines += [f"{result.suite}: {problem}" for problem in result.problems]
        lines += [
            f"{result.suite}: {one.test}: {one.without} without tracing, {one.traced} with content {one.mode}"
            for one in result.unexplained
        ]
    return "\n".join(lines)
