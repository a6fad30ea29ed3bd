"""Every tree of the corpus gets its verdict: code, file and line."""

from __future__ import annotations

import json

import pytest

from somatrace.check.command import main
from tests.check.corpus import Sample, samples


@pytest.mark.parametrize("sample", samples(), ids=str)
def test_the_verdict_of_a_tree_is_the_expected_one(sample: Sample, tmp_path, capsys) -> None:
    sample.write(tmp_path)

    code = main([str(tmp_path), "--json", "--no-cache"])

    found = [f"{one['code']} {one['path']}:{one['line']}" for one in json.loads(capsys.readouterr().out)]
    assert found == ([] if sample.expected == "ok" else [sample.expected])
    assert code == (0 if sample.expected == "ok" else 1)
