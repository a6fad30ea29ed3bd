"""The matrix of faults in docs/delivery.md is printed by its command, and adds up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults.experiments import FAULTS
from benchmarks.faults.peers import FAULTS as PEERS_FAULTS


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_matrix_is_printed_and_no_span_is_missing(root: Path) -> None:
    # of those that promise something within a time, none: a busy machine may take longer
    chosen = ["accepts slowly", "503", "torn", "the disk", "another service"]
    options = [option for text in chosen for option in ("--only", text)]

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--spans", "200", *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr
    table, _, below = done.stdout.partition("\n\n")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    # where no file system can be mounted, the disk is left out
    assert len(rows) == len(chosen) - done.stderr.count("not run")
    assert all(len(row) == 9 for row in rows)
    assert below.startswith("Caller's p99: at most ")


def test_the_page_has_a_row_for_each_fault(root: Path) -> None:
    page = (root / "docs" / "delivery.md").read_text()

    assert [name for name in FAULTS if f"\n| {name} | " not in page] == []


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_other_systems_run_under_the_same_faults(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--peers", "--only", "`kill -9`"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr
    long, short, _ = done.stdout.split("\n\n")
    rows = [line.strip("| ").split(" | ") for line in long.splitlines()[2:]]
    assert {row[0] for row in rows} == {"`kill -9`", "`kill -9` during an outage"}
    assert {"plain SDK", "somatrace"} <= {row[1] for row in rows}
    assert all(len(row) == 7 for row in rows)
    assert [line.split(" | ")[0] for line in short.splitlines()[2:]] == [
        "| `kill -9`",
        "| `kill -9` during an outage",
    ]


def test_the_page_has_a_row_for_each_fault_of_the_comparison(root: Path) -> None:
    page = (root / "docs" / "delivery.md").read_text()

    assert [name for name in PEERS_FAULTS if f"\n| {name} | somatrace | " not in page] == []
