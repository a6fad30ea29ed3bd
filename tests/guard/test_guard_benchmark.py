"""The benchmark of the guard runs and prints its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_benchmark_prints_the_guards_share_under_each_policy(root: Path) -> None:
    command = [sys.executable, root / "benchmarks" / "guard.py", "--rounds", "1", "--workflows", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode in (0, 1), done.stderr  # 1: the target was missed, as can happen in so short a run
    for mode in ("none", "redacted", "full"):
        assert f"| guard, {mode} |" in done.stdout
