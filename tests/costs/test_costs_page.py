"""docs/costs.md: its commands run, its example is valid, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from somatrace.costs.price_file import parse_prices
from somatrace.costs.price_table import price_table
from somatrace.costs.usage_units import FALLBACKS

PAGE = (Path(__file__).parents[2] / "docs" / "costs.md").read_text()


def block(language: str) -> str:
    [text] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return text


@pytest.mark.parametrize("command", block("bash").splitlines())
def test_each_command_of_the_page_runs(command, tmp_path):
    (tmp_path / "prices.json").write_text(block("json"))

    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_example_of_a_price_file_is_valid():
    file = parse_prices(block("json").encode()).strict

    assert len(file.rows) == 2
    assert len(file.deployments) == 3


def test_the_page_names_every_count_that_can_have_a_price():
    assert {name for name in FALLBACKS if f"`{name}`" not in PAGE} == set()


def test_the_page_names_every_key_of_a_price_file():
    keys = {key for row in json.loads(block("json"))["prices"] for key in row}

    assert {key for key in keys if f"`prices[].{key}`" not in PAGE and f"`.{key}`" not in PAGE} <= {"note"}


def test_the_page_names_the_version_of_the_table():
    assert f"`{price_table().version}`" in PAGE
    assert price_table().date.isoformat() in PAGE
