"""The price of a model call, what it adds to the span, and its entry in the ledger: CPU of the thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from systems import System

#: 2026-11-29, noon.
_NOON = 1_795_953_600_000_000_000
_USAGE = {"input": 600, "input_cached_tokens": 400, "output": 100}
_CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "server.address": "api.openai.com",
    "tenant_id": "acme",
    "workflow_name": "pay",
    "agent_id": "helper",
}


def price(_: System, **__: Any) -> dict[str, float]:
    """Looking up the price of a known model, and one product."""
    from somatrace.costs.price_book import PriceBook

    book, usage = PriceBook(None), {"input": 1000}
    return _best(lambda: book.price("openai", "gpt-4o-mini", usage, _NOON, server_address="api.openai.com"))


def pricing(_: System, **__: Any) -> dict[str, float]:
    """The attributes of a call with three counts."""
    from somatrace.costs.price_book import PriceBook
    from somatrace.pipeline.call_costs import CallCosts

    costs = CallCosts(lambda: PriceBook(None))
    return _best(lambda: costs.of(_CALL, _USAGE, _NOON))


def ledger(_: System, **__: Any) -> dict[str, float]:
    """The entry of the same call."""
    from somatrace.costs.ledger.cost_ledger import CostLedger
    from somatrace.costs.price_book import PriceBook
    from somatrace.pipeline.call_costs import CallCosts

    added = CallCosts(lambda: PriceBook(None)).of(_CALL, _USAGE, _NOON)
    usage = '{"input": 600, "input_cached_tokens": 400, "output": 100}'
    attributes = {**_CALL, **added, "langfuse.observation.usage_details": usage}
    kept = CostLedger(lambda: None)  # entries are summed up in memory, and never written
    return _best(lambda: kept.add(attributes, "bench", 0, _NOON))


def _best(work: Callable[[], object], times: int = 2000, rounds: int = 10) -> dict[str, float]:
    best = float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        for _ in range(times):
            work()
        best = min(best, time.thread_time() - began)
    return {"caller": best / times * 1e6, "made": 0}
