"""Calls cost what the published prices say; golden.tsv has prices and totals from elsewhere."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from somatrace.costs.price_book import PriceBook
from somatrace.costs.providers import provider_of

_FILE = Path(__file__).with_name("golden.tsv")


def golden() -> list[list[str]]:
    return [line.split("\t")[:6] for line in _FILE.read_text().splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


@pytest.mark.parametrize("row", golden(), ids=lambda row: " ".join(row[:4]))
def test_a_call_costs_what_the_published_prices_say(book, row):
    provider, model, server, when, counts, total = row
    usage = {name: int(count) for name, count in (pair.split("=") for pair in counts.split())}
    moment = dt.datetime.fromisoformat(when).replace(tzinfo=dt.UTC)

    price = book.price(provider, model, usage, int(moment.timestamp()) * 10**9, server_address=server)

    assert price is not None
    assert (price.total, price.currency, price.source) == (Decimal(total), "USD", "table")


def test_at_least_60_models_of_10_providers_are_checked():
    rows = golden()

    assert len({model for _, model, *_ in rows}) >= 60
    assert len({provider_of(provider) for provider, *_ in rows}) >= 10
