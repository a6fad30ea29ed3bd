"""The benchmark of redaction runs and prints its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_benchmark_prints_speed_growth_and_delay(root: Path) -> None:
    command = [sys.executable, root / "benchmarks" / "redact.py", "--rounds", "1", "--texts", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode in (0, 1), done.stderr  # 1: a bar was missed, as can happen under load
    assert "| chat, two values |" in done.stdout
    assert "| `?key=` |" in done.stdout
    assert "| 200 KB of `key=` |" in done.stdout
