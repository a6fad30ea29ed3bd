"""The table of published prices in the package: prices.json, written by ci/tools/generate-prices."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from somatrace.costs.price_list import PriceList
from somatrace.costs.price_row import PriceRow, day_of

_FILE: Final = Path(__file__).with_name("prices.json")


class PriceTable:
    """Published prices in US dollars."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.version: Final[str] = table["version"]
        self.date: Final = dt.date.fromisoformat(table["date"])
        self._providers: Final[Mapping[str, Any]] = table["providers"]
        self.prices: Final = PriceList(self.rows_of, table["fallbacks"])

    def rows(self) -> Iterator[PriceRow]:
        """All rows, by provider."""
        for provider in self._providers:
            yield from self.rows_of(provider)

    def rows_of(self, provider: str) -> Iterator[PriceRow]:
        """The rows of a provider, none if the table does not have it."""
        for row in self._providers.get(provider, ()):
            hours = row.get("hours")
            first = row.get("from")
            yield PriceRow(
                provider,
                row["model"],
                _decimal(row["prices"]),
                [(tokens, _decimal(dearer)) for tokens, dearer in row.get("above", ())],
                row.get("names", ()),
                row.get("dated", ()),
                first=day_of(dt.date.fromisoformat(first)) if first else None,
                hours=(_second(hours[0]), _second(hours[1])) if hours else None,
                service=row.get("service", ""),
                server=row.get("server", ""),
                version=self.version,
            )


@cache
def price_table() -> PriceTable:
    """The table, read when it is first needed."""
    return PriceTable(json.loads(_FILE.read_bytes()))


def _decimal(prices: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(price) for name, price in prices.items()}


def _second(clock_time: str) -> int:
    hour, minute = clock_time.split(":")
    return int(hour) * 3600 + int(minute) * 60
