"""Launcher, layout, start, place of the call and flow combined: each combination gets the verdict it must.

All combinations: `python benchmarks/combinations.py`.
"""

from __future__ import annotations

import pytest

from somatrace.check.checker import check
from somatrace.check.project.file_tree import FileTree
from somatrace.check.settings import CheckSettings
from tests.check.combining.launchers import LAUNCHERS
from tests.check.combining.layouts import LAYOUTS
from tests.check.combining.product import Combination, each_program, some
from tests.check.starting import observed

#: The codes of which a real start shows one.
SHOWN = {"ok": {"ok"}, "ST001": {"ST001"}, "ST002": {"ST001", "ST004"}, "ST006": {"ST001"}}


def reported(one: Combination, folder) -> set[str]:
    """The codes of the findings, or `ok`."""
    one.sample().write(folder)
    findings = check(FileTree(folder), CheckSettings()).findings
    return {finding.code for finding in findings} or {"ok"}


@pytest.mark.parametrize("seed", range(8))
def test_a_combination_gets_the_verdict_that_its_parts_imply(seed: int, tmp_path) -> None:
    wrong = []
    for number, one in enumerate(some(60, seed)):
        codes = reported(one, tmp_path / str(number))
        if len(codes) != 1 or not codes <= one.program.expected:
            wrong.append(f"{one}: {sorted(codes)} instead of {sorted(one.program.expected)}")

    assert wrong == []


@pytest.mark.slow
def test_every_program_gets_its_verdict_from_some_launcher_in_some_layout(tmp_path) -> None:
    wrong = []
    for number, one in enumerate(each_program(seed=21)):
        codes = reported(one, tmp_path / str(number))
        if len(codes) != 1 or not codes <= one.program.expected:
            wrong.append(f"{one}: {sorted(codes)} instead of {sorted(one.program.expected)}")

    assert wrong == []


def test_a_sample_has_every_launcher_and_every_layout() -> None:
    chosen = some(300, seed=1)

    assert {one.launcher for one in chosen} == set(LAUNCHERS)
    assert {one.layout.name for one in chosen} == {layout.name for layout in LAYOUTS}


#: gunicorn restarts the worker whose server was stopped.
STARTED = [
    one for one in some(80, seed=5) if one.program.start != "gunicorn" and not one.program.shows_nothing
]


@pytest.mark.slow
@pytest.mark.parametrize("one", STARTED[:24], ids=str)
def test_a_real_start_agrees_with_the_verdict_of_a_combination(one: Combination, tmp_path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "record").mkdir()
    sample = one.sample()
    sample.write(tmp_path / "tree")

    found = set(observed(sample, tmp_path / "tree", tmp_path / "record"))

    if one.program.expected == {"ST003"}:
        assert "ok" in found or "ST001" in found
    else:
        assert found & {shown for code in one.program.expected for shown in SHOWN.get(code, {code})}
