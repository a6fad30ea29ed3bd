"""Prices of model calls, and reports of what the calls cost.

What services use for prices is plain Python, without the network; `cost_report` reads from a backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somatrace.costs.cost_row import CostRow
    from somatrace.costs.spending_report import CostReport, cost_report

__all__ = ["CostReport", "CostRow", "cost_report"]


def __getattr__(name: str) -> object:
    # lazy: services price calls, and need nothing of this
    if name in __all__:
        from somatrace.costs import spending_report

        return getattr(spending_report, name)
    raise AttributeError(f"module 'somatrace.costs' has no attribute {name!r}")
