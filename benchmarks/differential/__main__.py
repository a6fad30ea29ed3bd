"""Run the test suites of libraries without and with tracing, and compare the outcome of each test.

Each suite comes from its library's source distribution. It runs twice without tracing, once with content none
and once with content full; spans go to a sink on loopback. A test with two outcomes without tracing is flaky
and excluded; a test that differs is run twice more without tracing before it counts, and one that exceeded
the time limit with tracing runs alone, which then counts. Exits with 1 if there is a difference that
`explained.py` does not explain.

    make differential [SUITES="httpx mcp"]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.differential.comparison import AGAIN, ALONE, MODES, WITHOUT, Comparison
from benchmarks.differential.runner import Runner
from benchmarks.differential.sources import LOCK, ROOT, download, pinned
from benchmarks.differential.suites import SUITES, Suite
from benchmarks.differential.table import Result, report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [suite.library for suite in SUITES]
    parser.add_argument("suites", nargs="*", help="all if none is given: " + ", ".join(names))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "differential")
    parser.add_argument(
        "--report", action="store_true", help="report the runs that are there, and run nothing"
    )
    parser.add_argument("--resume", action="store_true", help="keep the complete runs that are there")
    given = parser.parse_args()
    if unknown := set(given.suites) - set(names):
        parser.error(f"no suite is named {', '.join(sorted(unknown))}")
    results = []
    for suite in SUITES:
        folder = given.folder.resolve() / "results" / suite.library
        if (given.suites and suite.library not in given.suites) or (given.report and not folder.exists()):
            continue
        if not given.report:
            _run(suite, given.folder.resolve(), folder, keep=given.resume)
        results.append(_result(suite, folder))
        print(results[-1].row(), file=sys.stderr, flush=True)
    print(report(results))
    return int(any(result.failed for result in results))


def _run(suite: Suite, folder: Path, results: Path, *, keep: bool) -> None:
    """Run the suite four times, and tests that differ again. `keep`: complete runs are not repeated."""
    source = download(suite, folder)
    if not keep:
        shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True, exist_ok=True)
    for name in (*AGAIN, *ALONE.values()):
        (results / f"{name}.jsonl").unlink(missing_ok=True)
    runner = Runner(suite, source, results)
    there = Comparison(suite.library, results)
    for name in (*WITHOUT, *MODES):
        if not there.complete(name):
            runner.run(name, name if name in MODES else "without")
    for mode, name in ALONE.items():
        if alone := Comparison(suite.library, results).to_run_alone(mode):
            runner.run(name, mode, alone)
    again = Comparison(suite.library, results).to_run_again()
    for name in AGAIN if again else ():
        runner.run(name, "without", again)


def _result(suite: Suite, results: Path) -> Result:
    version, _ = pinned(suite.library, LOCK.read_text())
    return Comparison(suite.library, results).result(version)


if __name__ == "__main__":
    sys.exit(main())
