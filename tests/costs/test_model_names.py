"""Model names in every spelling lead to one row of the price table, and unknown ones to none."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from somatrace.costs.price_book import PriceBook

DAY = dt.date(2026, 11, 30)
_FILE = Path(__file__).with_name("spellings.tsv")


def spellings() -> list[tuple[str, str, str, str]]:
    lines = [line for line in _FILE.read_text().splitlines() if not line.startswith("#")]
    return [tuple(line.split("\t")) for line in lines]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


@pytest.mark.parametrize(("provider", "model", "server", "wanted"), spellings())
def test_each_spelling_of_a_model_has_its_price_row(book, provider, model, server, wanted):
    usages = ({"input": 1000}, {"rerank_searches": 1})

    prices = [book.price(provider, model, usage, DAY, server_address=server) for usage in usages]

    assert {f"{price.provider} {price.model}" for price in prices if price is not None} == ({wanted} - {"-"})


def test_there_are_at_least_150_spellings_of_known_models():
    assert sum(wanted != "-" for *_, wanted in spellings()) >= 150
