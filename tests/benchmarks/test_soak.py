"""The soak of docs/benchmarks.md (`python -m benchmarks.soak`) accounts for every span."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_every_span_of_a_short_soak_is_accounted_for(root: Path) -> None:
    # this seed: the target refuses connections, is slow, and keeps spans; processes are killed
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--seconds", "20", "--rate", "400", "--seed", "2"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr
    assert "| unexplained | 0 |" in done.stdout
    assert "| `kill -9` of a process |" in done.stdout
