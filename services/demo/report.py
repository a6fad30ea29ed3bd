"""Read observations back from the store, sum them up per tenant and compare them with the workflows sent.

Only `differences` knows what the demo sent; delete a stored span and the table changes.
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

PAGE = 1000
MOST_PAGES = 200
TOKEN_TYPES = ("GENERATION", "EMBEDDING")
Observation = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One tenant. Latencies are of whole workflows, in seconds; None without workflows."""

    tenant: str
    workflows: int
    errors: int
    llm_calls: int
    input_tokens: int
    output_tokens: int
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
    """One row per tenant, sorted by name. Each span of kind workflow counts as one workflow."""
    by_tenant: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        by_tenant[str((observation.get("metadata") or {}).get("tenant_id", "unknown"))].append(observation)
    return [_row(tenant, by_tenant[tenant]) for tenant in sorted(by_tenant)]


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
    title = "Per tenant, read back from the store"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("tenant")
    for heading in ("workflows", "errors", "LLM calls", "tokens in", "tokens out", "p50", "p95"):
        shown.add_column(heading, justify="right")
    for row in found:
        counts = (row.workflows, row.errors, row.llm_calls, row.input_tokens, row.output_tokens)
        shown.add_row(row.tenant, *(f"{count:,}" for count in counts), _shown(row.p50), _shown(row.p95))
    return shown


def percentile(values: list[float], share: float) -> float | None:
    """The smallest value with at least `share` of all values at or below it; None for an empty list."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _row(tenant: str, observations: list[Observation]) -> Row:
    workflows = [each for each in observations if each["type"] == "CHAIN"]
    priced = [each.get("usageDetails") or {} for each in observations if each["type"] in TOKEN_TYPES]
    times = [_seconds(each) for each in workflows]
    return Row(
        tenant=tenant,
        workflows=len(workflows),
        errors=sum(each["level"] == "ERROR" for each in workflows),
        llm_calls=sum(each["type"] == "GENERATION" for each in observations),
        input_tokens=sum(int(usage.get("input", 0)) for usage in priced),
        output_tokens=sum(int(usage.get("output", 0)) for usage in priced),
        p50=percentile(times, 0.50),
        p95=percentile(times, 0.95),
    )


def _seconds(observation: Observation) -> float:
    start, end = (datetime.fromisoformat(observation[name]) for name in ("startTime", "endTime"))
    return (end - start).total_seconds()


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
