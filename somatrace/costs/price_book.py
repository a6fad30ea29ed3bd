"""Price calls: by the user's prices, else by the table of published ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from somatrace.costs.model_names import has_other_prices
from somatrace.costs.price_row import DAY_NS, PriceRow, Source, day_of
from somatrace.costs.price_table import price_table
from somatrace.costs.providers import candidates, host_of
from somatrace.runtime.log_once import CurrentProblem
from somatrace.runtime.watched_file import Signature, read_file, signature_of, why_unreadable

if TYPE_CHECKING:
    from somatrace.costs.price_file import PriceFile

#: Calls whose rows are remembered; a program has few models and servers.
_MOST: Final = 1024
_LONGEST_NAME: Final = 512
#: Services that are what a call gets if it asks for none.
_USUAL: Final = frozenset({"", "default", "standard", "auto", "standard_only", "on_demand"})

_Call = tuple[str, str, str, str, int]


class Price(NamedTuple):
    """What a call costs. `details` has the parts by the names of the counts; their sum is `total`."""

    total: Decimal
    currency: str
    details: dict[str, Decimal]
    source: Source
    #: Of the table, or of the user's file.
    version: str
    #: Whose price of which model it is.
    provider: str
    model: str


class PriceBook:
    """The prices of all models. What is unknown has no price.

    `file` is the user's price file (SOMATRACE_PRICES_FILE). It is read when a first call is priced, and again
    by `refresh` when it has changed. Not thread-safe: one worker prices calls.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._path = file
        self._signature: Signature | None = ()  # that of no file, so that it is read
        self._raw: bytes | None = None
        self._file: PriceFile | None = None
        self._fresh = file is None
        self._problem = CurrentProblem(each_change=True)
        self._memo: dict[_Call, Sequence[PriceRow]] = {}

    @property
    def problem(self) -> str:
        """The current problem with the price file, "" if there is none."""
        return self._problem.line

    def price(
        self,
        provider: str,
        model: str,
        usage: Mapping[str, int],
        when: int | dt.date,
        *,
        server_address: str = "",
        service: str = "",
    ) -> Price | None:
        """What a call costs; None if its model, one of its counts, or all of them are unknown.

        `usage` has disjoint counts by the names that Langfuse gets. `when` is in nanoseconds since the epoch,
        or a day (UTC), which counts as its beginning. `service` is what the call was ordered as: batch, flex,
        priority.
        """
        day = when // DAY_NS if type(when) is int else day_of(when)
        call = (provider, model, server_address, service, day)
        rows = self._memo.get(call)
        if rows is None:
            rows = self._remembered(call)
        if not rows:
            return None
        row = rows[0]
        if row.hours is not None:
            second = when % DAY_NS // 1_000_000_000 if isinstance(when, int) else 0
            row = next((one for one in rows if one.applies_at(second)), row)
            if not row.applies_at(second):
                return None
        cost = row.rates.cost_of(usage)
        if cost is None:
            return None
        return Price(cost[0], row.currency, cost[1], row.source, row.version, row.provider, row.model)

    def refresh(self) -> None:
        """Read the price file if it has changed: one `stat` if it has not.

        Rows with a problem are ignored, and the last good prices stay if the file cannot be used at all.
        """
        if self._path is None or signature_of(self._path) == self._signature:
            return
        self._fresh = True
        try:
            raw, self._signature = read_file(self._path)
        except Exception as error:
            self._raw, self._signature = None, signature_of(self._path)
            self._report(f"{why_unreadable(error)}; {self._kept}")
            return
        if raw == self._raw:
            return
        self._raw = raw
        from somatrace.costs.price_file import PriceFileError, parse_prices  # few services have a file

        try:
            self._file = parse_prices(raw)
        except Exception as error:
            problem = str(error) if isinstance(error, PriceFileError) else type(error).__name__
            self._report(f"{problem}; {self._kept}")
            return
        self._memo.clear()
        problems = self._file.problems
        more = f", with {len(problems) - 1} more" if len(problems) > 1 else ""
        self._report(f"{problems[0]}; the row is ignored{more}" if problems else "")

    @property
    def _kept(self) -> str:
        return "published prices apply" if self._file is None else "the last good prices stay in force"

    def _report(self, problem: str) -> None:
        self._problem.set(f"SOMATRACE_PRICES_FILE: {problem}" if problem else "")

    def _remembered(self, call: _Call) -> Sequence[PriceRow]:
        if not self._fresh:
            self.refresh()
        if sum(map(len, call[:4])) > _LONGEST_NAME:
            return ()
        if len(self._memo) >= _MOST:
            self._memo.clear()
        rows = self._memo[call] = self._rows(call)
        return rows

    def _rows(self, call: _Call) -> Sequence[PriceRow]:
        """The rows that may apply to a call on its day: all but the last one for some hours only."""
        provider, model, address, service, day = call
        host = host_of(address)
        service = service.strip().lower()
        service = "" if service in _USUAL else service
        own = self._file
        named = "" if own is None else own.deployments.get(f"{host}/{model}") or own.deployments.get(model)
        places = list(candidates(provider, named or model, host))
        if named:  # the file may name the maker, whoever has deployed the model
            places += candidates("", named, "")
        if own is not None:
            for place, name in places:
                for owner in (place, ""):
                    if found := own.prices.find(owner, name, day, host, place=place):
                        return _latest(found, service)
        for place, name in places:
            if found := price_table().prices.find(place, name, day, host):
                elsewhere = has_other_prices(place, name, host, found[0].model)
                return () if elsewhere else _latest(found, service)
        return ()


def _latest(rows: Sequence[PriceRow], service: str) -> Sequence[PriceRow]:
    """The rows of a service from the last one to the first one that applies at all hours."""
    found: list[PriceRow] = []
    for row in reversed(rows):
        if row.service == service:
            found.append(row)
            if row.hours is None:
                break
    return tuple(found)
