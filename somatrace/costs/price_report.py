"""What `somatrace prices` prints: the prices that apply on a day, as lines or as one JSON object."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from somatrace.costs.price_file import PriceFile, read_price_file
from somatrace.costs.price_row import PriceRow, date_of, day_of
from somatrace.costs.price_table import price_table
from somatrace.costs.providers import provider_of
from somatrace.runtime.text_table import table

_HEADINGS: Final = ("provider", "model", "for", "input", "cached", "output", "more", "source")
_COLUMNS: Final = ("input", "input_cached_tokens", "output")


@dataclass(frozen=True)
class PriceReport:
    """Rows that apply on a day. No row means that no model matches."""

    rows: Sequence[PriceRow]

    @property
    def exit_code(self) -> int:
        return 0 if self.rows else 1

    def lines(self) -> Iterator[str]:
        if not self.rows:
            yield f"prices: no model matches; the table is {price_table().version}"
            return
        yield from table([_HEADINGS, *(_cells(row) for row in self.rows)], right=(3, 4, 5))
        yield (
            f"prices: {len(self.rows):,}, by the million tokens or characters, by the thousand searches,"
            f" pages or requests; the table is {price_table().version}"
        )

    def as_json(self) -> str:
        found = price_table()
        return json.dumps(
            {
                "exit_code": self.exit_code,
                "table": {"version": found.version, "date": found.date.isoformat()},
                "prices": [_entry(row) for row in self.rows],
            },
            ensure_ascii=False,
        )


def list_prices(file: Path | None, words: Sequence[str], day: dt.date) -> PriceReport:
    """The prices on a day of models whose provider or name contains each of the words.

    Raises OSError or PriceFileError if the user's file cannot be used.
    """
    own = read_price_file(file).strict.rows if file is not None else ()
    replaced = {(row.provider, row.model) for row in own if _applies(row, day_of(day))}
    published = [row for row in price_table().rows() if (row.provider, row.model.lower()) not in replaced]
    latest: dict[tuple[object, ...], PriceRow] = {}
    for row in (*own, *published):
        if _applies(row, day_of(day)) and all(_has(row, word) for word in words):
            latest[row.provider, row.model, row.service, row.server, row.hours] = row
    return PriceReport(list(latest.values()))


@dataclass(frozen=True)
class CheckedFile:
    """A price file without a problem."""

    path: Path
    file: PriceFile
    exit_code: int = 0

    def lines(self) -> Iterator[str]:
        prices, deployments = len(self.file.rows), len(self.file.deployments)
        yield f"prices: {self.path} has no problem: {prices:,} prices, {deployments:,} deployments"

    def as_json(self) -> str:
        counted = {"prices": len(self.file.rows), "deployments": len(self.file.deployments)}
        return json.dumps({"exit_code": 0, "file": str(self.path), **counted}, ensure_ascii=False)


def check_file(path: Path) -> CheckedFile:
    """Check a price file. Raises OSError or PriceFileError."""
    return CheckedFile(path, read_price_file(path).strict)


def _has(row: PriceRow, word: str) -> bool:
    return word.lower() in f"{row.provider} {row.model}".lower() or provider_of(word) == row.provider != ""


def _applies(row: PriceRow, day: int) -> bool:
    return (row.first is None or row.first <= day) and (row.last is None or day <= row.last)


def _cells(row: PriceRow) -> tuple[str, ...]:
    known = [f"{row.prices[name]:f}" if name in row.prices else "-" for name in _COLUMNS]
    more = [_named({name: price for name, price in row.prices.items() if name not in _COLUMNS})]
    more += [f"above {tokens:,} input tokens: {_named(prices)}" for tokens, prices in row.above]
    source = row.source if row.currency == "USD" else f"{row.source}, {row.currency}"
    when = f"{_clock(row.hours[0])}-{_clock(row.hours[1])} UTC" if row.hours else ""
    which = " ".join(filter(None, (row.service, row.server, when)))
    return (row.provider or "any", row.model, which, *known, "; ".join(filter(None, more)), source)


def _named(prices: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{name} {price:f}" for name, price in prices.items())


def _entry(row: PriceRow) -> dict[str, Any]:
    return {
        "provider": row.provider,
        "model": row.model,
        "service": row.service,
        "server": row.server,
        "hours": [_clock(second) for second in row.hours] if row.hours else None,
        "from": date_of(row.first),
        "until": date_of(row.last),
        "currency": row.currency,
        "prices": _texts(row.prices),
        "above": [[tokens, _texts(prices)] for tokens, prices in row.above],
        "source": row.source,
        "version": row.version,
    }


def _texts(prices: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{price:f}" for name, price in prices.items()}


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second % 3600 // 60:02d}"
