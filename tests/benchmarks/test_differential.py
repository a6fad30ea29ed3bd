"""The comparison of test outcomes without and with tracing (`make differential`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.differential import outcomes
from benchmarks.differential.comparison import Comparison
from benchmarks.differential.explained import EXPLAINED, Explained, explanation
from benchmarks.differential.outcomes import Difference, Run
from benchmarks.differential.sources import LOCK, pinned
from benchmarks.differential.suites import SUITES
from benchmarks.differential.table import Result, report

OUTCOME_BY_PHASES = {
    "passed": [("setup", "passed"), ("call", "passed"), ("teardown", "passed")],
    "failed": [("setup", "passed"), ("call", "failed"), ("teardown", "passed")],
    "skipped": [("setup", "skipped"), ("teardown", "passed")],
    "xfailed": [("setup", "passed"), ("call", "xfailed"), ("teardown", "passed")],
    "error": [("setup", "passed"), ("call", "passed"), ("teardown", "failed")],
}


def written(path, *reports):
    lines = [
        {"test": test, "phase": phase, "outcome": outcome, "text": ""} for test, phase, outcome in reports
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("outcome", OUTCOME_BY_PHASES)
def test_the_outcome_of_a_test_is_the_worst_of_its_phases(outcome, tmp_path):
    path = written(tmp_path / "run", *[("t", *phase) for phase in OUTCOME_BY_PHASES[outcome]])

    run = outcomes.read(path)

    assert run.outcomes == {"t": outcome}


def test_an_error_in_the_teardown_does_not_hide_a_failure(tmp_path):
    path = written(
        tmp_path / "run", ("t", "setup", "passed"), ("t", "call", "failed"), ("t", "teardown", "failed")
    )

    assert outcomes.read(path).outcomes == {"t": "failed"}


def test_the_last_attempt_of_a_test_counts(tmp_path):
    path = written(
        tmp_path / "run",
        ("t", "setup", "passed"),
        ("t", "call", "rerun"),
        ("t", "call", "failed"),
        ("t", "setup", "passed"),
        ("t", "call", "passed"),
    )

    assert outcomes.read(path).outcomes == {"t": "passed"}


@pytest.mark.parametrize(("status", "complete"), [("0", True), ("1", True), ("2", False), ("3", False)])
def test_a_run_is_complete_if_pytest_ran_all_tests(status, complete, tmp_path):
    assert outcomes.read(written(tmp_path / "run", ("", "end", status))).complete is complete


def test_a_run_that_ended_early_is_not_complete(tmp_path):
    assert not outcomes.read(written(tmp_path / "run", ("t", "call", "passed"))).complete
    assert not outcomes.read(tmp_path / "never-written").complete


def test_a_file_that_cannot_be_collected_is_an_error(tmp_path):
    path = written(tmp_path / "run", ("tests/test_a.py", "collect", "failed"))

    assert outcomes.read(path).outcomes == {"tests/test_a.py": "error"}


def test_tests_with_two_outcomes_without_tracing_are_flaky():
    runs = [Run({"a": "passed", "b": "passed", "c": "passed"}), Run({"a": "passed", "b": "failed"})]

    assert outcomes.flaky(runs) == {"b", "c"}


def test_each_changed_outcome_is_a_difference():
    without = Run({"a": "passed", "b": "passed", "c": "failed", "d": "passed", "e": "passed"})
    traced = Run({"a": "passed", "b": "failed", "c": "passed", "e": "error", "f": "passed"})

    found = outcomes.differences(without, traced, "none", excluded={"e"})

    assert found == [
        Difference("b", "none", "passed", "failed"),
        Difference("c", "none", "failed", "passed"),
        Difference("d", "none", "passed", "absent"),
        Difference("f", "none", "absent", "passed"),
    ]


def run_of(folder, name, outcome, text=""):
    lines = [
        {"test": "t", "phase": "call", "outcome": outcome, "text": text},
        {"test": "", "phase": "end", "outcome": "1", "text": ""},
        {"test": "", "phase": "spans", "outcome": "1", "text": ""},
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(("alone", "differences"), [("passed", 0), ("failed", 1)])
def test_a_test_that_exceeded_the_time_limit_counts_as_it_runs_alone(alone, differences, tmp_path):
    for name in ("without-1", "without-2", "full"):
        run_of(tmp_path, name, "passed")
    run_of(tmp_path, "none", "failed", "Failed: Timeout (>120.0s) from pytest-timeout.")
    assert Comparison("lib", tmp_path).to_run_alone("none") == ["t"]
    assert Comparison("lib", tmp_path).to_run_alone("full") == []

    run_of(tmp_path, "alone-none", alone)

    assert len(Comparison("lib", tmp_path).result("1.0").unexplained) == differences


def test_a_failure_of_another_kind_does_not_run_alone(tmp_path):
    for name, outcome in (("without-1", "passed"), ("without-2", "passed"), ("none", "failed")):
        run_of(tmp_path, name, outcome, "1 != 2")

    assert Comparison("lib", tmp_path).to_run_alone("none") == []


def test_a_difference_that_is_seen_without_tracing_too_is_flaky(tmp_path):
    for name, outcome in (
        ("without-1", "passed"), ("without-2", "passed"), ("none", "failed"), ("full", "passed"),
    ):  # fmt: skip
        run_of(tmp_path, name, outcome)
    assert Comparison("lib", tmp_path).to_run_again() == ["t"]

    run_of(tmp_path, "again-1", "passed")
    run_of(tmp_path, "again-2", "failed")

    result = Comparison("lib", tmp_path).result("1.0")
    assert result.flaky == ["t"]
    assert not result.failed


def test_an_explanation_holds_for_its_suite_tests_and_modes():
    table = (Explained("lib", "tests/test_a.py::test_x[*]", "a reason", modes=("full",)),)
    difference = Difference("tests/test_a.py::test_x[one]", "full", "passed", "failed")

    assert explanation("lib", difference, table) == "a reason"
    assert explanation("other", difference, table) is None
    assert explanation("lib", Difference(difference.test, "none", "passed", "failed"), table) is None
    assert (
        explanation("lib", Difference("tests/test_a.py::test_y", "full", "passed", "failed"), table) is None
    )


def test_an_explanation_with_a_text_holds_only_for_failures_with_it():
    table = (Explained("lib", "tests/*", "a reason", text="worker"),)

    assert explanation("lib", Difference("tests/t", "none", "passed", "error", "a worker"), table)
    assert not explanation("lib", Difference("tests/t", "none", "passed", "failed", "1 != 2"), table)


def test_every_explanation_gives_its_reason_for_a_suite_of_the_table():
    assert {row.suite for row in EXPLAINED} <= {suite.library for suite in SUITES}
    assert all(row.reason.strip() for row in EXPLAINED)


def test_unexplained_differences_and_early_ends_are_reported_below_the_table():
    difference = Difference("tests/test_a.py::test_x", "none", "passed", "failed")
    kept = Result("kept", "1.0", tests=1200, passed=1100, flaky=["tests/test_b.py::test_y"], spans=1007)
    changed = Result(
        "changed", "2.0", tests=5, differences=[difference], problems=["the run full ended early"]
    )

    lines = report([kept, changed]).splitlines()

    assert lines[2:] == [
        "| kept | 1.0 | 1,200 | 1,100 | 1 | 1,007 | 0 | 0 |",
        "| changed | 2.0 | 5 | 0 | 0 | 0 | 1 | 0 |",
        "changed: the run full ended early",
        "changed: tests/test_a.py::test_x: passed without tracing, failed with content none",
    ]
    assert not kept.failed
    assert changed.failed


def test_the_lock_pins_every_suite_at_the_version_of_the_development_lock():
    development = (LOCK.parent / "requirements-dev.lock").read_text()

    for suite in SUITES:
        version, requirement = pinned(suite.library, LOCK.read_text())

        assert version == pinned(suite.library, development)[0]
        assert requirement.startswith(f"{suite.library}==")
        assert "--hash=sha256:" in requirement
        assert "# via" not in requirement


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["without", "none", "full"])
def test_the_plugin_writes_outcomes_and_traces_as_its_mode_says(mode, tmp_path, root):
    (tmp_path / "test_traced.py").write_text(
        "from opentelemetry import trace\n"
        "import pytest\n\n"
        "@pytest.mark.parametrize('number', range(8))\n"
        "def test_inside(number):\n"
        "    assert trace.get_current_span().is_recording()\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": str(root / "benchmarks" / "differential"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "DIFFERENTIAL_MODE": mode,
        "DIFFERENTIAL_ENDPOINT": "http://127.0.0.1:9/v1/traces",
        "DIFFERENTIAL_OUTCOMES": str(tmp_path / "outcomes"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "traced_tests", "test_traced.py"]

    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=200, check=False)

    run = outcomes.read(tmp_path / "outcomes")
    inside = sum(outcome == "passed" for outcome in run.outcomes.values())
    assert run.complete
    assert len(run.outcomes) == 8
    assert {"without": inside == 0, "none": 0 < inside < 8, "full": inside == 8}[mode]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_test_that_fails_only_with_tracing_fails_the_command(tmp_path, root):
    version, _ = pinned("httpx", LOCK.read_text())
    tests = tmp_path / f"httpx-{version}" / "tests"
    tests.mkdir(parents=True)
    (tests / "test_one.py").write_text(
        "import sys\n"
        "from pathlib import Path\n\n"
        "def test_same():\n"
        "    assert True\n\n"
        "def test_different():\n"
        "    assert 'somatrace' not in sys.modules\n\n"
        "def test_flaky():\n"
        "    runs = Path('runs')\n"
        "    runs.write_text(runs.read_text() + '.' if runs.exists() else '.')\n"
        "    assert len(runs.read_text()) % 2\n"
    )
    command = [sys.executable, "-m", "benchmarks.differential", "httpx", "--folder", str(tmp_path)]

    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=800, check=False)

    assert done.returncode == 1, done.stderr
    row, *below = done.stdout.splitlines()[2:]
    assert [cell.strip() for cell in row.split("|")[1:6]] == ["httpx", version, "2", "2", "1"]
    assert below == [
        f"httpx: tests/test_one.py::test_different: passed without tracing, failed with content {mode}"
        for mode in ("none", "full")
    ]
    runs = (tmp_path / f"httpx-{version}" / "runs").read_text()

    again = subprocess.run(
        [*command, "--resume"], cwd=root, capture_output=True, text=True, timeout=800, check=False
    )

    assert again.stdout == done.stdout
    assert (tmp_path / f"httpx-{version}" / "runs").read_text() == runs
