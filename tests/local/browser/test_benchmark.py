"""The page benchmark runs to completion; its figures belong in docs/benchmarks.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.usefixtures("unmeasured")
def test_the_benchmark_of_the_page_measures_every_page_and_the_memory():
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "page.py",
            *("--spans", "24000"),
            *("--rate", "200"),
            *("--rounds", "3"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count(" kept |") + done.stdout.count(" missed |") == 16
    assert "spans/s arrived while it was measured" in done.stdout
