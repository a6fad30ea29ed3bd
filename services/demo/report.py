"""Read observations back from the store, sum them up per tenant and compare them with the workflows sent.

What counts as a workflow, an error, a recovered error and an LLM call is what the local page counts, by the
same code. Only `differences` knows what the demo sent; delete a stored span and the table changes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from rich import box
from rich.table import Table

from somatrace import semconv
from somatrace.local import formatting
from somatrace.local.otlp.observation_parts import compact
from somatrace.local.otlp.row import SpanRow
from somatrace.local.store import shares, trace_summary
from somatrace.local.store.shares import Share

PAGE = 1000
MOST_PAGES = 200
Observation = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One tenant. The cost is in US dollars. Latencies are of whole workflows, in seconds; None without
    workflows."""

    tenant: str
    workflows: int
    errors: int
    recovered: int
    llm_calls: int
    input_tokens: int
    output_tokens: int
    cost: float
    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Sent:
    """The counts expected for one tenant."""

    workflows: int = 0
    errors: int = 0
    llm_calls: int = 0


def read_back(url: str, public_key: str, secret_key: str) -> list[Observation]:
    """Read all observations through Langfuse's read API; raises `httpx.HTTPError`."""
    observations: list[Observation] = []
    query = {"fields": "core,basic,time,usage,metadata", "limit": str(PAGE)}
    with httpx.Client(base_url=url, auth=(public_key, secret_key), timeout=30, trust_env=False) as client:
        for _ in range(MOST_PAGES):
            answer = client.get("/api/public/v2/observations", params=query)
            answer.raise_for_status()
            body = answer.json()
            observations += body["data"]
            cursor = body["meta"].get("cursor")
            if not cursor:
                return observations
            query["cursor"] = cursor
    return observations


def rows(observations: Iterable[Observation]) -> list[Row]:
    """One row per tenant, sorted by name. Each of its traces counts as one workflow."""
    traces: dict[str, list[SpanRow]] = defaultdict(list)
    for observation in observations:
        span = _span(observation)
        traces[span.trace_id].append(span)
    of_tenants: dict[str, list[Share]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for spans in traces.values():
        trace, parts = shares.settled(trace_summary.of(spans, 0), shares.of(spans).values())
        for share in parts:
            of_tenants[share.tenant].append(share)
            if share.leads:
                seconds[share.tenant].append((trace.end_ns - trace.start_ns) / 1e9)
    return [_row(tenant, of_tenants[tenant], seconds[tenant]) for tenant in sorted(seconds)]


def differences(found: Iterable[Row], sent: Mapping[str, Sent]) -> list[str]:
    """One line for each count that differs from `sent`."""
    by_tenant = {row.tenant: Sent(row.workflows, row.errors, row.llm_calls) for row in found}
    wrong = []
    for tenant, wanted in sorted(sent.items()):
        stored = by_tenant.get(tenant, Sent())
        for what in ("workflows", "errors", "llm_calls"):
            here, there = getattr(stored, what), getattr(wanted, what)
            if here != there:
                wrong.append(f"{tenant}: {here} {what.replace('_', ' ')} stored, {there} sent")
    return wrong


def table(found: Iterable[Row]) -> Table:
    title = "Per tenant, read back from the store (calls of models; in, out: tokens)"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE, padding=0, pad_edge=False)
    shown.add_column("tenant")
    for heading in ("workflows", "errors", "recovered", "calls", "in", "out", "cost", "p50", "p95"):
        shown.add_column(heading, justify="right")
    for row in found:
        counts = (
            row.workflows, row.errors, row.recovered, row.llm_calls, row.input_tokens, row.output_tokens
        )  # fmt: skip
        figures = (formatting.cost(row.cost) or "-", latency(row.p50), latency(row.p95))
        shown.add_row(row.tenant, *(f"{count:,}" for count in counts), *figures)
    return shown


def percentile(values: list[float], share: float) -> float | None:
    """The smallest value with at least `share` of all values at or below it; None for an empty list."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _row(tenant: str, parts: list[Share], seconds: list[float]) -> Row:
    leading = [share for share in parts if share.leads]
    return Row(
        tenant=tenant or semconv.UNKNOWN_TENANT,
        workflows=len(leading),
        errors=sum(share.tenant_failed for share in leading),
        recovered=sum(share.tenant_errors > 0 and not share.tenant_failed for share in leading),
        llm_calls=sum(share.calls for share in parts),
        input_tokens=sum(share.input_tokens for share in parts),
        output_tokens=sum(share.output_tokens for share in parts),
        cost=sum(share.cost for share in parts),
        p50=percentile(seconds, 0.50),
        p95=percentile(seconds, 0.95),
    )


def _span(observation: Observation) -> SpanRow:
    """The observation with the fields that are counted."""
    metadata = observation.get("metadata") or {}
    usage = observation.get("usageDetails") or {}
    given = {
        "trace_id": str(observation["traceId"]),
        "span_id": str(observation["id"]),
        "parent_id": observation.get("parentObservationId"),
        "is_root": not observation.get("parentObservationId"),
        "name": str(observation.get("name") or ""),
        "type": observation["type"],
        "level": observation["level"],
        "tenant_id": metadata.get(semconv.TENANT),
        "workflow_name": metadata.get(semconv.WORKFLOW),
        "input_tokens": int(usage.get("input", 0)),
        "output_tokens": int(usage.get("output", 0)),
        "total_cost": observation.get("totalCost"),
        "start_ns": _nanoseconds(observation["startTime"]),
        "end_ns": _nanoseconds(observation["endTime"]),
        "metadata": compact(metadata),
    }
    return SpanRow(**{**dict.fromkeys(SpanRow._fields), **given})


def _nanoseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000) * 1_000_000


def latency(seconds: float | None) -> str:
    """A number of seconds with its unit, "-" for none."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
