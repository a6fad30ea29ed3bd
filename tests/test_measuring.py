"""`make coverage` measures the tests of `make test`; tests that repeat themselves are measured in part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.measuring import ENOUGH, PROGRAMS

ROOT = Path(__file__).resolve().parent.parent


def commands_of_make_test(**env: str) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in {"COVERAGE", "MAKEFLAGS"}}
    return subprocess.check_output(
        ["make", "--dry-run", "test"], cwd=ROOT, env={**environ, **env}, text=True, timeout=180
    )


def test_coverage_is_that_of_the_tests_of_make_test():
    tests = "-m pytest -n 4 --dist worksteal\n"

    measured, plain = commands_of_make_test(COVERAGE="1"), commands_of_make_test()

    assert f"python -m coverage run {tests}" in measured
    assert "coverage report" in measured
    assert f"python {tests}" in plain
    assert "coverage" not in plain


SUITE = """
import sys
import pytest
from hypothesis import given, strategies
import package

def note(name):
    print(name, "measured" if sys.gettrace() else "skipped")

@pytest.mark.parametrize("case", range(60))
def test_repeats(case):
    package.same()
    note("repeats")

@pytest.mark.parametrize("case", range(60))
def test_differs(case):
    package.other(case)
    note("differs")

@given(strategies.integers())
def test_examples(number):
    package.same()
    note("examples")

def test_alone():
    note("alone")

@pytest.fixture
def unmeasured():
    pass

def test_unmeasured(unmeasured):
    note("unmeasured")
"""
PACKAGE = "def same():\n    return 1\n\n\ndef other(case):\n" + "".join(
    f"    if case == {case}:\n        return {case}\n" for case in range(60)
)
PLUGIN = """
import coverage
from tests.support.measuring import MeasuredTests

def pytest_configure(config):
    config.pluginmanager.register(MeasuredTests(coverage.Coverage.current()))
"""


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> list[str]:
    """A line per test of a small suite that was run under coverage: whether it was measured."""
    directory = tmp_path_factory.mktemp("suite")
    (directory / "test_suite.py").write_text(SUITE)
    (directory / "package.py").write_text(PACKAGE)
    (directory / "conftest.py").write_text(PLUGIN)
    environ = {name: value for name, value in os.environ.items() if name not in PROGRAMS}
    options = [
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:langsmith_plugin",
        "-c",
        "/dev/null",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "--branch", "--source=.", "-m", "pytest", *options, "."],
        cwd=directory,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix(".") for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("test", ["repeats", "examples"])
def test_most_cases_and_examples_that_reach_nothing_new_are_not_measured(notes, test):
    cases = [line.split()[1] for line in notes if line.startswith(test)]

    assert len(cases) >= 60
    assert cases[:ENOUGH] == ["measured"] * ENOUGH
    assert 0 < cases[ENOUGH + 1 :].count("measured") < 0.3 * len(cases)


@pytest.mark.slow
def test_cases_that_reach_something_new_are_measured(notes):
    assert [line.split()[1] for line in notes if line.startswith("differs")] == ["measured"] * 60


@pytest.mark.slow
@pytest.mark.parametrize(("test", "seen"), [("alone", "measured"), ("unmeasured", "skipped")])
def test_a_test_of_one_case_is_measured_unless_it_asks_not_to_be(notes, test, seen):
    assert [line.split()[1] for line in notes if line.startswith(test)] == [seen]
