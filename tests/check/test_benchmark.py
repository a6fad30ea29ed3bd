"""The benchmark runs, on a small tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_benchmark_measures_a_tree_in_which_every_service_is_traced(tmp_path):
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "check.py"),
        "--services",
        "20",
        "--files",
        "2000",
        "--json",
        str(report),
    ]

    subprocess.run(command, check=True, capture_output=True, timeout=280)

    result = json.loads(report.read_text())
    assert result["said"] == "20 processes: every one is traced"
    assert result["cold s"] > 0 < result["ruff check --no-cache s"]
