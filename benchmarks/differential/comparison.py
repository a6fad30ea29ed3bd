"""What the runs of a suite, in one folder, have shown."""

from __future__ import annotations

from pathlib import Path

from benchmarks.differential import outcomes
from benchmarks.differential.explained import explanation, flaky_by_name
from benchmarks.differential.outcomes import Difference, Run
from benchmarks.differential.table import Result

#: the runs without tracing, and those with tracing by their mode
WITHOUT = ("without-1", "without-2")
MODES = ("none", "full")
#: the runs, without tracing, of tests that differ
AGAIN = ("again-1", "again-2")
#: the runs, by their mode, of tests that exceeded the time limit with tracing
ALONE = {mode: f"alone-{mode}" for mode in MODES}
#: in the failure of a test that did so
_TIME_LIMIT = "from pytest-timeout"
_NAMES = (*WITHOUT, *MODES, *AGAIN, *ALONE.values())


class Comparison:
    """The runs of the suite of a library, in `folder`."""

    def __init__(self, library: str, folder: Path) -> None:
        self._library = library
        self._runs = {name: outcomes.read(folder / f"{name}.jsonl") for name in _NAMES}
        self._base = self._runs[WITHOUT[0]]

    def to_run_again(self) -> list[str]:
        """The tests that differ without an explanation, as far as they exist without tracing."""
        found = (one.test for one in self._differences() if explanation(self._library, one) is None)
        return sorted(set(found) & self._base.outcomes.keys())

    def to_run_alone(self, mode: str) -> list[str]:
        """The tests that exceeded the time limit with tracing, which a busy machine can cause too."""
        found = (one for one in self._differences() if one.mode == mode and _TIME_LIMIT in one.text)
        return sorted({one.test for one in found})

    def complete(self, name: str) -> bool:
        """Whether the run `name` has come to its end."""
        return self._runs[name].complete

    def result(self, version: str) -> Result:
        flaky = self._flaky()
        steady = {test: outcome for test, outcome in self._base.outcomes.items() if test not in flaky}
        return Result(
            self._library,
            version,
            tests=len(steady),
            passed=sum(outcome == "passed" for outcome in steady.values()),
            flaky=sorted(flaky),
            spans=sum(self._runs[mode].spans for mode in MODES),
            differences=self._differences(),
            problems=self._problems(),
        )

    def _differences(self) -> list[Difference]:
        flaky = self._flaky()
        return [
            one for mode in MODES for one in outcomes.differences(self._base, self._traced(mode), mode, flaky)
        ]

    def _traced(self, mode: str) -> Run:
        """The run with tracing, with the later outcomes of tests that ran alone."""
        run, alone = self._runs[mode], self._runs[ALONE[mode]]
        return Run({**run.outcomes, **alone.outcomes}, {**run.texts, **alone.texts})

    def _flaky(self) -> set[str]:
        found = outcomes.flaky(self._runs[name] for name in WITHOUT)
        for repeated in (self._runs[name] for name in AGAIN):
            found |= outcomes.flaky([_only(self._base, repeated), repeated])
        return found | flaky_by_name(self._library, self._base.outcomes)

    def _problems(self) -> list[str]:
        runs = {name: self._runs[name] for name in (*WITHOUT, *MODES)}
        early = [f"the run {name} ended early" for name, run in runs.items() if not run.complete]
        return early + [f"no span arrived with content {mode}" for mode in MODES if not runs[mode].spans]


def _only(base: Run, repeated: Run) -> Run:
    """The outcomes in `base` of the tests that were repeated."""
    return Run({test: base.outcomes[test] for test in repeated.outcomes if test in base.outcomes})
