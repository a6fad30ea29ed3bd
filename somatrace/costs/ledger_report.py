"""Rows of a cost report, from the ledger of this machine."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from somatrace.costs.backends import UnavailableError
from somatrace.costs.billed_span import DIMENSIONS
from somatrace.costs.billing_rule import USD
from somatrace.costs.cost_row import CostRow, in_order
from somatrace.costs.ledger.ledger_directory import LEDGER_NAME, read_ledger
from somatrace.costs.ledger.ledger_entry import (
    QUARTER_SECONDS,
    TRILLIONTH,
    LedgerKey,
    LedgerSums,
    LedgerTotals,
)

_OFF: Final = "no ledger is kept on this machine: set SOMATRACE_COST_LEDGER=true in the services"


class LedgerRows(NamedTuple):
    """The rows of a report, their total, the calls without a known price by model, and damaged records."""

    rows: tuple[CostRow, ...]
    total: CostRow
    unpriced: dict[str, int]
    damaged: int


def ledger_rows(
    data_dir: Path | None, by: Sequence[str], since: dt.datetime, until: dt.datetime, zone: dt.tzinfo = dt.UTC
) -> LedgerRows:
    """The calls that began from the quarter of an hour of `since` on and before `until`.

    `by` names dimensions or tags, with days of `zone`. Raises UnavailableError if there is no ledger.
    """
    if data_dir is None or not (data_dir / LEDGER_NAME).is_dir():
        raise UnavailableError(_OFF)
    try:
        totals, damaged = read_ledger(data_dir)
    except OSError as error:
        raise UnavailableError(f"the ledger in {data_dir}: {error.strerror or error}") from None
    first, last = since.timestamp() // QUARTER_SECONDS * QUARTER_SECONDS, until.timestamp()
    groups: dict[tuple[str, ...], LedgerTotals] = {}
    unpriced: Counter[str] = Counter()
    everything = LedgerTotals()
    for key, sums in totals.items():
        if first <= key.quarter < last:
            groups.setdefault(_labels(key, by, zone), LedgerTotals()).add(key, sums)
            everything.add(key, sums)
            unpriced[key.model] += sums.unknown
    rows = in_order((_row(labels, group) for labels, group in sorted(groups.items())), by)
    known = {model: calls for model, calls in unpriced.most_common() if calls}
    return LedgerRows(tuple(rows), _row((), everything), known, damaged)


def _row(labels: tuple[str, ...], totals: Mapping[LedgerKey, LedgerSums]) -> CostRow:
    sums = LedgerSums(0, 0, 0, 0, 0, 0)
    costs: Counter[str] = Counter()
    for key, one in totals.items():
        sums = sums.plus(one)
        if one.unknown < one.calls or one.cost:
            costs[key.currency] += one.cost
    amounts = {currency: cost * TRILLIONTH for currency, cost in sorted(costs.items())}
    dollars = amounts.pop(USD, None)
    return CostRow(
        labels,
        calls=sums.calls,
        errors=sums.errors,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        cost=dollars if dollars is not None or sums.unknown or amounts else Decimal(),
        unknown=sums.unknown,
        p50=None,
        p95=None,
        p99=None,
        other_costs=amounts,
    )


def _labels(key: LedgerKey, by: Sequence[str], zone: dt.tzinfo) -> tuple[str, ...]:
    return tuple(_label(key, name, zone) for name in by)


def _label(key: LedgerKey, name: str, zone: dt.tzinfo) -> str:
    if name == "day":
        return dt.datetime.fromtimestamp(key.quarter, zone).date().isoformat()
    return str(getattr(key, name)) if name in DIMENSIONS else _tag(key.tags, name)


def _tag(tags: str, name: str) -> str:
    try:
        return str(json.loads(tags).get(name, "")) if tags else ""
    except (ValueError, AttributeError):
        return ""
