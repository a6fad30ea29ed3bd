"""What `somatrace prices --unknown` prints: models of calls without a known cost, and rows to fill in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from somatrace.config import Config
from somatrace.costs.price_book import PriceBook
from somatrace.costs.price_file import MAX_TEXT
from somatrace.costs.price_report import check_file
from somatrace.costs.providers import provider_of
from somatrace.costs.spending_report import CostReport, cost_report
from somatrace.local import formatting
from somatrace.runtime.clock import clock
from somatrace.runtime.text_table import table

_HEADINGS: Final = ("provider", "model", "calls", "price")
_NO_MODEL: Final = "(no model)"


class UnpricedModel(NamedTuple):
    """A model with calls whose cost is unknown. With a price, their counts are missing, or are of a kind that
    has none, or the price is newer than they are."""

    provider: str
    model: str
    calls: int
    has_price: bool


@dataclass(frozen=True)
class UnpricedReport:
    """The models without a known cost that a report by provider and model has, most calls first."""

    report: CostReport
    models: Sequence[UnpricedModel]

    @property
    def exit_code(self) -> int:
        """That of the report: 0 the whole period, 1 unavailable, 3 a part of it."""
        return self.report.exit_code

    def lines(self) -> Iterator[str]:
        if self.report.total is None:
            yield f"prices: unavailable: {self.report.reason}"
            return
        if self.models:
            yield from table([_HEADINGS, *map(_cells, self.models)], right=(2,))
        count = sum(model.calls for model in self.models)
        calls = formatting.counted(count, "call") if count else "no call"
        yield f"prices: {calls} without a known cost {self.report.origin}"
        if self.report.cut:
            yield "prices: earlier calls were not read: use a later --since"
        if rows := self._rows():
            yield "prices: give each null a price, and add the rows to the file of SOMATRACE_PRICES_FILE:"
            yield '{"prices": ['
            for number, row in enumerate(rows, 1):
                yield f"  {json.dumps(row)}{',' if number < len(rows) else ''}"
            yield "]}"

    def as_json(self) -> str:
        """One JSON object; `prices` are rows of a price file to fill in."""
        report = self.report
        return json.dumps(
            {
                "exit_code": self.exit_code,
                "source": report.source,
                "where": report.where,
                "reason": report.reason,
                "since": report.since.isoformat(),
                "until": report.until.isoformat(),
                "cut": report.cut,
                "models": [model._asdict() for model in self.models],
                "prices": self._rows(),
            },
            ensure_ascii=False,
        )

    def _rows(self) -> list[dict[str, Any]]:
        """Rows of a price file without the prices, which are null so that nobody takes them for free."""
        return [_row(model) for model in self.models if not model.has_price and _can_have_one(model.model)]


def unpriced_report(since: str, file: Path | None, config: Config | None = None) -> UnpricedReport:
    """Look for calls without a known cost where `cost_report` does. `file` is the user's price file.

    Raises CostQueryError for a `since` that cannot be used, OSError or PriceFileError for the file.
    """
    if file is not None:
        check_file(file)
    report = cost_report(("provider", "model"), since, config=config)
    book, day = PriceBook(file), clock.now().date()
    found = [
        UnpricedModel(
            provider, model, row.unknown, book.price(provider, model, {"input": 1}, day) is not None
        )
        for row in report.rows
        if row.unknown
        for provider, model in [row.labels]
    ]
    return UnpricedReport(report, sorted(found, key=lambda model: (-model.calls, model)))


def _row(model: UnpricedModel) -> dict[str, Any]:
    provider = provider_of(model.provider)
    return {
        **({"provider": provider} if provider else {}),
        "model": model.model,
        "prices": {"input": None, "output": None},
    }


def _can_have_one(model: str) -> bool:
    """Whether a price file may have a model of this name."""
    return 0 < len(model) <= MAX_TEXT and model.isprintable()


def _cells(model: UnpricedModel) -> tuple[str, ...]:
    price = "is known: see what is unknown in docs/costs.md" if model.has_price else "missing"
    name = formatting.line(model.model or _NO_MODEL)
    return formatting.line(model.provider) or "-", name, f"{model.calls:,}", price
