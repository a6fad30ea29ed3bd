"""Run the test suites of libraries without and with tracing, and compare the outcome of each test.

Each suite comes from its library's source distribution. It runs twice without tracing, once with content none
and once with content full; spans go to a sink on loopback. A test with two outcomes without tracing is flaky
and excluded; a test that differs is run again without tracing before it counts. Exits with 1 if there is a
difference that `explained.py` does not explain.

    make differential [SUITES="httpx mcp"]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.differential import outcomes
from benchmarks.differential.explained import explanation, flaky_by_name
from benchmarks.differential.sink import sink
from benchmarks.differential.sources import ROOT, download
from benchmarks.differential.suites import SUITES, Suite
from benchmarks.differential.table import Result, report

MODES = ("none", "full")
#: of one test, and of a whole run, in seconds
TEST_LIMIT = 120
RUN_LIMIT = 3600
#: how often tests that differ are run again without tracing
REPEATS = 2
#: settings of the caller that would reach the tests
_FOREIGN = ("PYTEST", "PYTHON", "SOMATRACE", "OTEL", "LANGFUSE", "TRACELOOP", "OPENAI", "ANTHROPIC", "AWS")


@dataclass(frozen=True)
class Runner:
    """Runs a suite's tests in a process of their own."""

    suite: Suite
    source: Path
    results: Path

    def run(self, name: str, mode: str, tests: Sequence[str] = ()) -> tuple[outcomes.Run, int]:
        """The outcomes, and the number of spans that arrived. `name` is that of the files of this run."""
        written = self.results / f"{name}.jsonl"
        home = self.results / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        with sink() as backend, (self.results / f"{name}.log").open("w") as log:
            environment = self._environment(mode, backend.url, written, home)
            command = [sys.executable, "-m", "pytest", *self._options(tests)]
            process = subprocess.Popen(command, cwd=self.source, env=environment, stdout=log, stderr=log)
            try:
                process.wait(RUN_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return outcomes.read(written), backend.spans

    def _options(self, tests: Sequence[str]) -> list[str]:
        suite = self.suite
        plugins = ("timeout", *(("xdist",) if suite.processes else ()), *suite.plugins, "traced_tests")
        options = [option for plugin in plugins for option in ("-p", plugin)]
        options += [
            "-o",
            "addopts=",
            "--tb=short",
            "-q",
            "-p",
            "no:cacheprovider",
            "--continue-on-collection-errors",
            f"--timeout={TEST_LIMIT}",
        ]
        if suite.processes and not tests:
            options += ["-n", str(suite.processes), "--dist", "loadfile"]
        options += [f"--ignore={path}" for path in suite.ignore]
        options += [f"--deselect={test}" for test in suite.deselect]
        return [*options, *suite.options, *(tests or suite.tests)]

    def _environment(self, mode: str, endpoint: str, written: Path, home: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {
            **kept,
            **dict(self.suite.environment),
            "HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "DIFFERENTIAL_MODE": mode,
            "DIFFERENTIAL_ENDPOINT": endpoint,
            "DIFFERENTIAL_OUTCOMES": str(written),
        }


def compare(suite: Suite, folder: Path) -> Result:
    """Run the suite four times, and those of its tests that differ once more."""
    version, source = download(suite, folder)
    results = folder / "results" / suite.library
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    runner = Runner(suite, source, results)
    result = Result(suite.library, version)

    bases = [runner.run(f"without-{number}", "without")[0] for number in (1, 2)]
    traced = {}
    for mode in MODES:
        traced[mode], result.spans[mode] = runner.run(mode, mode)
        if not result.spans[mode]:
            result.problems.append(f"no span arrived with content {mode}")
    for name, run in (("without tracing", bases[0]), ("without tracing", bases[1]), *traced.items()):
        if not run.complete:
            result.problems.append(f"the run {name} ended early (status {run.status or 'none'})")

    unsteady = outcomes.flaky(bases) | flaky_by_name(suite.library, bases[0].outcomes)
    found = _differences(bases[0], traced, unsteady)
    unexplained = {one.test for one in found if explanation(suite.library, one) is None}
    again = sorted(unexplained & bases[0].outcomes.keys())
    for number in range(REPEATS if again else 0):
        repeated, _ = runner.run(f"again-{number + 1}", "without", again)
        unsteady |= outcomes.flaky([bases[0].only(again), repeated])
    result.flaky = sorted(unsteady)
    result.differences = _differences(bases[0], traced, unsteady)
    result.tests = len(bases[0].outcomes.keys() - unsteady)
    return result


def _differences(
    base: outcomes.Run, traced: dict[str, outcomes.Run], excluded: set[str]
) -> list[outcomes.Difference]:
    return [one for mode, run in traced.items() for one in outcomes.differences(base, run, mode, excluded)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [suite.library for suite in SUITES]
    parser.add_argument("suites", nargs="*", help="all if none is given: " + ", ".join(names))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "differential")
    given = parser.parse_args()
    if unknown := set(given.suites) - set(names):
        parser.error(f"no suite is named {', '.join(sorted(unknown))}")
    results = []
    for suite in SUITES:
        if not given.suites or suite.library in given.suites:
            results.append(compare(suite, given.folder.resolve()))
            print(results[-1].row(), file=sys.stderr, flush=True)
    print(report(results))
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
