"""Changes that remove tracing from a traced tree are caught. All mutants: `python benchmarks/mutants.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.check.mutating import WAYS, Mutant, fate, mutants, some


@pytest.mark.slow
@pytest.mark.parametrize("mutant", some(24, seed=13), ids=str)
def test_a_change_that_really_loses_tracing_is_caught(mutant: Mutant, tmp_path) -> None:
    found = fate(mutant, tmp_path)

    assert found.caught or not found.lost


@pytest.mark.slow
def test_a_mutant_without_the_call_is_seen_to_lose_tracing(tmp_path) -> None:
    removed = next(mutant for mutant in mutants() if mutant.way.startswith("removed"))

    assert fate(removed, tmp_path).lost


def test_there_are_mutants_of_every_way() -> None:
    assert {mutant.way.partition(" (")[0] for mutant in mutants()} == set(WAYS)


@pytest.mark.slow
def test_the_benchmark_says_how_many_were_caught(tmp_path) -> None:
    benchmark = Path(__file__).resolve().parents[2] / "benchmarks" / "mutants.py"
    report = tmp_path / "report.json"

    command = [sys.executable, str(benchmark), "--sample", "6", "--json", str(report)]
    subprocess.run(command, check=True, capture_output=True, timeout=280)

    result = json.loads(report.read_text())
    assert result["mutants"] == 6
    assert result["of them caught"] <= result["that lose tracing"] <= 6
