"""What the counts of one call cost at the prices of one model: exact decimal arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

from somatrace.costs.usage_units import DEARER, FALLBACKS, unit_of

Prices = Mapping[str, Decimal]

#: Enough digits for every count and price. Not the context of the thread, which the program may have changed.
_EXACT: Final = Context(
    prec=60, Emin=-999_999, Emax=999_999, traps=[InvalidOperation, DivisionByZero, Overflow]
)
_multiply: Final = _EXACT.multiply
_add: Final = _EXACT.add
_ZERO: Final = Decimal(0)
#: The price of a request, whatever it counts.
_REQUEST: Final = "requests"


class Rates:
    """The prices of a model for one unit of each count.

    Each of `above` has a number of input tokens, and prices for the whole of a call with more of them.
    """

    __slots__ = ("_steps", "_units")

    def __init__(self, prices: Prices, above: Sequence[tuple[int, Prices]] = ()) -> None:
        self._units = _per_unit(prices)
        steps = sorted(above, key=lambda step: step[0], reverse=True)
        self._steps = tuple((tokens, _per_unit({**prices, **dearer})) for tokens, dearer in steps)

    def cost_of(self, usage: Mapping[str, int]) -> tuple[Decimal, dict[str, Decimal]] | None:
        """The total, and its parts by the names in `usage`, whose counts are disjoint.

        None if nothing was counted, or if something was that has no price. A price of the request itself is
        the part `requests`.
        """
        if "total" in usage:
            usage = _without_sum(usage)
        units = self._units_for(usage) if self._steps else self._units
        parts: dict[str, Decimal] = {}
        total = _ZERO
        for name, count in usage.items():
            if count > 0:
                unit = units.get(name)
                if unit is None:
                    return None
                parts[name] = part = _multiply(unit, count)
                total = _add(total, part)
        if not parts:
            return None
        if _REQUEST in units and _REQUEST not in parts:
            parts[_REQUEST] = units[_REQUEST]
            total = _add(total, units[_REQUEST])
        return total, parts

    def _units_for(self, usage: Mapping[str, int]) -> Prices:
        tokens = sum([count for name, count in usage.items() if name.startswith("input")])
        for start, units in self._steps:
            if tokens > start:
                return units
        return self._units


def _without_sum(usage: Mapping[str, int]) -> Mapping[str, int]:
    """The counts without `total`, unless it is all that is known."""
    parts = {name: count for name, count in usage.items() if name != "total"}
    return parts if any(parts.values()) else usage


def _per_unit(prices: Prices) -> dict[str, Decimal]:
    """The price of one unit of each count that has one, its own or that of what it falls back to."""
    units: dict[str, Decimal] = {}
    for name, others in FALLBACKS.items():
        if name not in prices and not prices.keys().isdisjoint(DEARER.get(name, ())):
            continue
        price = next((prices[known] for known in (name, *others) if known in prices), None)
        if price is not None:
            units[name] = _EXACT.multiply(price, unit_of(name))
    if "input" in units and units.get("output", units["input"]) == units["input"]:
        units["total"] = units["input"]  # of an embedding, say
    return units
