"""The figures of a cost row: as cells of a table, and by name for programs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from somatrace.costs.cost_row import CostRow
from somatrace.local import formatting

COST: Final = "cost USD"
#: Where there is nothing to show.
NOTHING: Final = "-"
_HEADINGS: Final = ("calls", "errors", "input", "output", COST, "unknown", "p50", "p95", "p99")
_OF_WORKFLOWS: Final = ("workflows", "USD/workflow")


def headings(*, by_workflow: bool) -> tuple[str, ...]:
    """The headings of `cells_of`."""
    return (*_HEADINGS, *_OF_WORKFLOWS) if by_workflow else _HEADINGS


def cells_of(row: CostRow, *, by_workflow: bool) -> tuple[str, ...]:
    """The figures as texts for people."""
    latencies = (
        NOTHING if ms is None else formatting.duration(ms * 1e6) for ms in (row.p50, row.p95, row.p99)
    )
    cells = (
        *map(_count, (row.calls, row.errors, row.input_tokens, row.output_tokens)),
        _money(row.cost),
        _count(row.unknown),
        *latencies,
    )
    return (*cells, _count(row.workflows), _money(row.cost_per_workflow)) if by_workflow else cells


def figures_of(row: CostRow, *, by_workflow: bool) -> dict[str, Any]:
    """The figures by name; amounts of money are texts, which keep every digit."""
    figures = {
        "calls": row.calls,
        "errors": row.errors,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": _digits(row.cost),
        "unknown": row.unknown,
        "p50_ms": row.p50,
        "p95_ms": row.p95,
        "p99_ms": row.p99,
        "other_costs": {currency: _digits(amount) for currency, amount in row.other_costs.items()},
    }
    if by_workflow:
        figures |= {"workflows": row.workflows, "cost_per_workflow_usd": _digits(row.cost_per_workflow)}
    return figures


def others_of(row: CostRow) -> str:
    """The sums in other currencies as text."""
    return ", ".join(f"{amount:f} {currency}" for currency, amount in row.other_costs.items())


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _money(amount: Decimal | None) -> str:
    """Six digits behind the point; of a smaller amount the first two."""
    if amount is None:
        return NOTHING
    return f"{amount:,.6f}" if not amount or amount >= Decimal("0.000001") else f"{amount:.1e}"


def _digits(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
