"""The smoke benchmark of docs/benchmarks.md runs and prints its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_time_to_visibility_is_measured_for_both_targets():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "smoke.py"), "--rounds", "1"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [len(row) for row in rows] == [7] * 4
    assert all(row[2].strip().isdigit() for row in rows[2:])
