"""What a span adds to the costs: the rule of reports over a backend, and of the ledger of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.local.store.definitions import CALLS, USAGE_TYPES

USD: Final = "USD"


class Billed(NamedTuple):
    """The figures of a model call, or of a span with the tokens of calls that made no spans.

    `cost` is None if it is unknown, and `currency` is that of `cost`.
    """

    is_call: bool
    failed: bool
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    currency: str


def billed(
    kind: str,
    level: str,
    usage: Mapping[str, Any],
    costs: Mapping[str, Any],
    attribute: Callable[[str], Any],
) -> Billed | None:
    """The figures of an observation; None if it neither is a call nor has tokens of its own.

    `kind` and `level` are Langfuse's, `usage` and `costs` the details of both, and `attribute` returns an
    attribute of the span, or None. What counts is what the page of `somatrace local` counts
    (`local/store/definitions.py`). Raises TypeError, ValueError, KeyError, AttributeError or ArithmeticError
    for what is no observation.
    """
    is_counted_elsewhere = attribute(semconv.USAGE_COUNTED) is not None
    if kind not in USAGE_TYPES and not is_counted_elsewhere:
        return None
    counts = {str(name).lower(): int(count) for name, count in usage.items()}
    tokens = counts.get("total", sum(counts.values()))
    is_call = kind in CALLS and not is_counted_elsewhere
    failed = level == "ERROR"
    unmeasured = is_call and not counts and not failed and attribute(semconv.CACHE_HIT) is None
    cost, currency = _cost(costs, attribute, is_billed=tokens > 0 or unmeasured)
    if not is_call and not tokens and not cost:
        return None
    return Billed(
        is_call,
        failed,
        sum(count for name, count in counts.items() if "input" in name),
        sum(count for name, count in counts.items() if "output" in name),
        cost,
        currency,
    )


def _cost(
    costs: Mapping[str, Any], attribute: Callable[[str], Any], *, is_billed: bool
) -> tuple[Decimal | None, str]:
    """What the span cost, and the currency. Where the span says that it is unknown, a price that the backend
    has put on it does not count."""
    if attribute(semconv.COST_SOURCE) == "unknown":
        return None, USD
    currency = str(attribute(semconv.COST_CURRENCY) or USD)
    if currency != USD:  # backends take every cost for US dollars, and are sent no other
        amount = _amount(attribute(semconv.COST_AMOUNT))
        return (None, USD) if amount is None else (amount, currency)
    # not `totalCost`, which is 0 where Langfuse has no cost
    if not costs:
        return (None if is_billed else Decimal()), USD
    amounts = [_amount(given) for given in ([costs["total"]] if "total" in costs else costs.values())]
    known = [amount for amount in amounts if amount is not None]
    return (sum(known, Decimal()) if len(known) == len(amounts) else None), USD


def _amount(given: Any) -> Decimal | None:
    """An amount of money, which any library may have set; None for what is no number."""
    try:
        found = Decimal(str(given))
    except (ArithmeticError, ValueError):
        return None
    return found if found.is_finite() else None
