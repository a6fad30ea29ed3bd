"""The table in the package is complete, readable by the rules of a price file, and free of surprises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from somatrace.costs.price_file import parse_prices
from somatrace.costs.price_table import price_table
from somatrace.costs.providers import MAKERS, provider_of

ROOT = Path(__file__).parents[2]
TABLE = json.loads((ROOT / "somatrace" / "costs" / "prices.json").read_text())
BY_HAND = json.loads((ROOT / "ci" / "tools" / "more-prices.json").read_text())


@pytest.mark.parametrize("provider", TABLE["providers"])
def test_every_row_keeps_the_rules_of_a_price_file(provider):
    text = json.dumps({"prices": TABLE["providers"][provider]})

    assert len(parse_prices(text.encode()).strict.rows) == len(TABLE["providers"][provider])


def test_only_what_is_free_costs_nothing():
    free = {row.model for row in price_table().rows() if not any(row.prices.values())}

    assert {model for model in free if not model.endswith(":free")} <= {"moderation"}


def test_no_name_stands_for_two_models_of_a_provider():
    for rows in TABLE["providers"].values():
        owners: dict[str, str] = {}
        for row in rows:
            for name in (row["model"].lower(), *row.get("names", ())):
                assert owners.setdefault(name, row["model"]) == row["model"]


def test_every_price_given_by_hand_is_in_the_table_and_says_where_it_is_from():
    for row in BY_HAND["prices"]:
        assert row["source"].startswith("https://")
        assert row["checked"] <= BY_HAND["checked"]
        kept = {
            key: value for key, value in row.items() if key not in ("provider", "source", "checked", "names")
        }
        found = [one for one in TABLE["providers"][row["provider"]] if one["model"] == row["model"]]
        assert any(kept.items() <= one.items() for one in found), row


def test_the_license_of_the_prices_is_with_them():
    notice = (ROOT / "somatrace" / "costs" / "prices.LICENSE").read_text()

    assert "genai-prices 0.2.3" in notice
    assert "Copyright (c) Pydantic Services Inc." in notice
    assert "The above copyright notice and this permission notice shall be included" in notice


def test_makers_and_spellings_of_providers_are_those_of_the_table():
    assert set(MAKERS) <= TABLE["providers"].keys()
    assert {provider_of(name) for name in ("az.ai.openai", "AWS", "gcp.vertex_ai", "x_ai")} <= TABLE[
        "providers"
    ].keys()


def test_a_program_that_calls_no_model_imports_no_prices():
    program = (
        "import sys; from somatrace import init_tracing, shutdown, span; init_tracing('demo')\n"
        "with span('work'): pass\n"
        "shutdown(); print([name for name in sys.modules if name.startswith('somatrace.costs')])"
    )
    env = {"PATH": "/usr/bin", "SOMATRACE_TARGET": "none"}

    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=180, check=True
    )

    assert done.stdout == "[]\n"


def test_nothing_is_read_before_a_call_is_priced():
    program = (
        "import sys; from somatrace.costs.price_book import PriceBook; book = PriceBook();"
        "from somatrace.costs.price_table import price_table; print(price_table.cache_info().currsize,"
        " [name for name in sys.modules if name.partition('.')[0] in ('opentelemetry', 'pydantic', 'httpx')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=True
    )

    assert done.stdout == "0 []\n"
