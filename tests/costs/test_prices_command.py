"""`somatrace prices` lists today's prices, the user's own first, and explains a bad file in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONTRACT = {"provider": "openai", "model": "gpt-4o", "prices": {"input": 2, "output": 8}, "currency": "EUR"}


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"prices": [CONTRACT]}))
    return path


def prices(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "somatrace", "prices", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_words_narrow_the_list_to_providers_and_models():
    done = prices("bedrock", "nova-lite")

    heading, *rows, last = done.stdout.splitlines()
    assert heading.split()[:2] == ["provider", "model"]
    assert rows
    assert all(row.startswith("aws ") and "nova-lite" in row for row in rows)
    assert last.startswith(f"prices: {len(rows)}, by the million tokens")
    assert done.returncode == 0


def test_a_list_without_a_model_exits_with_1():
    done = prices("no-such-model")

    assert done.returncode == 1
    assert done.stdout.startswith("prices: no model matches; the table is genai-prices ")


def test_json_has_the_prices_with_their_source(file):
    done = prices("--json", "openai", "gpt-4o", SOMATRACE_PRICES_FILE=str(file))

    report = json.loads(done.stdout)
    own = [row for row in report["prices"] if row["source"] == "file"]
    assert report["exit_code"] == 0
    assert [(row["model"], row["currency"], row["prices"]) for row in own] == [
        ("gpt-4o", "EUR", {"input": "2", "output": "8"})
    ]
    assert not [row for row in report["prices"] if row["model"] == "gpt-4o" and row["provider"] == "openai"][
        1:
    ]


def test_a_file_without_a_mistake_is_counted(file):
    done = prices("--check", str(file), "--json")

    assert json.loads(done.stdout) == {"exit_code": 0, "file": str(file), "prices": 1, "deployments": 0}


@pytest.mark.parametrize("how", ["--check", "SOMATRACE_PRICES_FILE"])
def test_a_mistake_in_a_file_is_one_line_and_exits_with_2(file, how):
    file.write_text('{\n"prices": [\n{"model": "own",\n"prices": {"input": "cheap"}}]}')

    done = prices(how, str(file)) if how == "--check" else prices(**{how: str(file)})

    assert done.returncode == 2
    assert done.stderr == (
        f"somatrace: {how}: {file}: line 4: prices[0].prices.input: use a number from 0 to 1,000,000,000\n"
    )
    assert done.stdout == ""
