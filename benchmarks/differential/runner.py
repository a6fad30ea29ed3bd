"""One run of a library's test suite, in a process of its own, with a sink for its spans."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.differential import outcomes
from benchmarks.differential.sink import sink
from benchmarks.differential.suites import Suite

#: of one test, and of a whole run, in seconds
TEST_LIMIT = 120
RUN_LIMIT = 3600
#: settings of the caller that would reach the tests
_FOREIGN = ("PYTEST", "PYTHON", "SOMATRACE", "OTEL", "LANGFUSE", "TRACELOOP", "OPENAI", "ANTHROPIC", "AWS")


@dataclass(frozen=True)
class Runner:
    """Runs a suite's tests in a process of their own."""

    suite: Suite
    source: Path
    results: Path

    def run(self, name: str, mode: str, tests: Sequence[str] = ()) -> None:
        """Run the tests, or only some of them, and write their outcomes to the file `name`."""
        written = self.results / f"{name}.jsonl"
        home = self.results / f"home-{name}"
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
            outcomes.add_spans(written, backend.spans)

    def _options(self, tests: Sequence[str]) -> list[str]:
        suite = self.suite
        plugins = ("timeout", *(("xdist",) if suite.processes else ()), *suite.plugins, "traced_tests")
        options = [option for plugin in plugins for option in ("-p", plugin)]
        options += ["-q", "--tb=short", "-o", "addopts=", "-p", "no:cacheprovider"]
        options += ["--continue-on-collection-errors", f"--timeout={TEST_LIMIT}"]
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
