"""One row of a price list: the prices of a model, and when they apply."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Final, Literal

from somatrace.costs.rates import Rates

Source = Literal["table", "file"]
DAY_NS: Final = 86_400 * 1_000_000_000
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


def day_of(when: int | dt.date) -> int:
    """The day of a date, or of nanoseconds since the epoch (UTC), in days since the epoch."""
    return when // DAY_NS if isinstance(when, int) else when.toordinal() - _EPOCH


def date_of(day: int | None) -> str | None:
    """A day as it is written: 2026-12-31."""
    return None if day is None else dt.date.fromordinal(day + _EPOCH).isoformat()


@dataclass(frozen=True)
class PriceRow:
    """Prices of one model by the names of its counts. Of the rows of a model the last one that applies wins.

    A name in `dated` also matches when a version or a date follows it.
    """

    provider: str
    model: str
    prices: Mapping[str, Decimal]
    #: Prices of calls with more than so many input tokens.
    above: Sequence[tuple[int, Mapping[str, Decimal]]] = ()
    names: Sequence[str] = ()
    dated: Sequence[str] = ()
    #: First and last day, in days since the epoch.
    first: int | None = None
    last: int | None = None
    #: Seconds of the day (UTC) between which the row applies; they may span midnight.
    hours: tuple[int, int] | None = None
    #: What the call was ordered as, such as batch, flex or priority.
    service: str = ""
    #: The server's host, or `*` and how it ends.
    server: str = ""
    currency: str = "USD"
    source: Source = field(default="table", compare=False)
    version: str = field(default="", compare=False)

    @cached_property
    def rates(self) -> Rates:
        return Rates(self.prices, self.above)

    def applies_on(self, day: int, server: str) -> bool:
        """Whether the row applies on a day to calls of a server, at some hour."""
        if self.server.startswith("*"):
            served = server.endswith(self.server[1:])
        else:
            served = self.server in ("", server)
        return (
            served and (self.first is None or self.first <= day) and (self.last is None or day <= self.last)
        )

    def applies_at(self, second: int) -> bool:
        """Whether the row applies at a second of the day."""
        if self.hours is None:
            return True
        start, end = self.hours
        return start <= second < end if start <= end else second >= start or second < end
