"""Sums over model calls: one row for each group of them, and one for all."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Final

from somatrace.costs.billed_span import BilledSpan
from somatrace.costs.billing_rule import USD
from somatrace.costs.workflow_run import WorkflowRun, of_runs

_TWELVE_DIGITS: Final = Context(prec=12)


@dataclass(frozen=True)
class CostRow:
    """The calls with the same `labels`, which are in the order of the report's `by`.

    `cost` is in US dollars, without the `unknown` calls, and None if all are unknown; `other_costs` has the
    sums in other currencies, by currency. Latencies are in milliseconds, None without calls.

    `workflows` is the number of traces in which the workflow of the row succeeded, and `cost_per_workflow`
    the cost, that of failed ones too, divided by it. `workflows` is None in reports that are not by workflow,
    and where no span says how the workflow ended; such calls do not count in the total's cost per workflow.
    """

    labels: tuple[str, ...]
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    unknown: int
    p50: int | None
    p95: int | None
    p99: int | None
    other_costs: Mapping[str, Decimal] = field(default_factory=dict)
    workflows: int | None = None
    cost_per_workflow: Decimal | None = None


def cost_rows(
    spans: Iterable[BilledSpan], by: Sequence[str], runs: Iterable[WorkflowRun] | None = None
) -> list[CostRow]:
    """A row for each group, in the order of days, or the dearest first."""
    groups: dict[tuple[str, ...], list[BilledSpan]] = defaultdict(list)
    for span in spans:
        groups[span.labels].append(span)
    rows = [cost_row(labels, groups[labels]) for labels in sorted(groups)]
    return in_order(rows if runs is None else _by_runs(rows, by, runs), by)


def in_order(rows: Iterable[CostRow], by: Sequence[str]) -> list[CostRow]:
    """The rows in the order of days, or the dearest first."""
    if "day" in by:
        day = by.index("day")
        return sorted(rows, key=lambda row: row.labels[day])
    return sorted(rows, key=lambda row: (-(row.cost or 0), -row.calls))


def total_row(
    spans: Sequence[BilledSpan], by: Sequence[str], runs: Sequence[WorkflowRun] | None = None
) -> CostRow:
    """The sums over all spans."""
    total = cost_row((), spans)
    if runs is None:
        return total
    place = by.index("workflow")
    names = {span.labels[place] for span in spans} & {run.workflow for run in runs}
    inside = cost_row((), [span for span in spans if span.labels[place] in names])
    return _divided(total, inside.cost, [run for run in runs if run.workflow in names])


def cost_row(labels: tuple[str, ...], spans: Sequence[BilledSpan]) -> CostRow:
    """The sums over some spans."""
    calls = [span for span in spans if span.is_call]
    latencies = sorted(span.milliseconds for span in calls)
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for span in spans:
        if span.cost is not None:
            costs[span.currency] += span.cost
    unknown = sum(span.cost is None for span in spans)
    dollars = costs.pop(USD, None)
    return CostRow(
        labels,
        calls=len(calls),
        errors=sum(span.failed for span in calls),
        input_tokens=sum(span.input_tokens for span in spans),
        output_tokens=sum(span.output_tokens for span in spans),
        cost=dollars if dollars is not None or unknown or costs else Decimal(),
        unknown=unknown,
        p50=_percentile(latencies, 50),
        p95=_percentile(latencies, 95),
        p99=_percentile(latencies, 99),
        other_costs=dict(sorted(costs.items())),
    )


def _by_runs(rows: Sequence[CostRow], by: Sequence[str], runs: Iterable[WorkflowRun]) -> list[CostRow]:
    grouped: dict[tuple[str, ...], list[WorkflowRun]] = defaultdict(list)
    for run in runs:
        grouped[run.labels].append(run)
    return [_divided(row, row.cost, grouped[of_runs(row.labels, by)]) for row in rows]


def _divided(row: CostRow, cost: Decimal | None, runs: Sequence[WorkflowRun]) -> CostRow:
    """The row with its cost by the traces in which a workflow succeeded, be it the second time."""
    if not runs:
        return row
    workflows = len({(run.workflow, run.trace) for run in runs if not run.failed})
    each = None if cost is None or not workflows else _TWELVE_DIGITS.divide(cost, workflows)
    return replace(row, workflows=workflows, cost_per_workflow=each)


def unpriced_models(spans: Iterable[BilledSpan]) -> dict[str, int]:
    """The number of calls without a known cost by model, most first."""
    counts = Counter(span.model for span in spans if span.cost is None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _percentile(ordered: Sequence[int], share: int) -> int | None:
    """The smallest value with at least `share` percent of all values at or below it."""
    return ordered[math.ceil(share * len(ordered) / 100) - 1] if ordered else None
