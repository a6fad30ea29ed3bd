"""Langfuse reads costs as US dollars: those in another currency are converted, or left out with one line."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from somatrace import span, status, usage
from somatrace.local.otlp import usage as langfuse
from somatrace.testing import capture


def call(**given: Any) -> dict[str, Any]:
    with capture() as seen, span("call", kind="llm"):
        usage(model="m", **given)
    return dict(seen.named("call").attributes or {})


@pytest.mark.parametrize("currency", ["USD", "usd"])
def test_a_cost_in_dollars_is_sent(currency: str) -> None:
    assert langfuse.cost(call(cost=0.5, currency=currency)).total == 0.5


def test_a_cost_in_another_currency_is_not_sent_as_dollars() -> None:
    attributes = call(cost=0.5, currency="EUR")

    assert langfuse.cost(attributes).total is None
    assert attributes["gen_ai.usage.cost.amount"] == 0.5
    assert attributes["gen_ai.usage.cost.currency"] == "EUR"


def test_a_cost_in_another_currency_is_not_counted_as_tokens() -> None:
    assert langfuse.usage(call(cost=5, currency="EUR")).total is None


@pytest.mark.parametrize("rate", [1.25, Decimal("1.25"), "1.25"])
def test_a_cost_is_converted_by_the_given_rate(rate: Any) -> None:
    attributes = call(cost=2, currency="EUR", usd_rate=rate)

    assert json.loads(attributes["langfuse.observation.cost_details"]) == {"total": 2.5}
    assert attributes["gen_ai.usage.cost.amount"] == 2


def test_a_rate_does_not_apply_to_dollars() -> None:
    assert langfuse.cost(call(cost=2, usd_rate=1.25)).total == 2


@pytest.mark.parametrize("rate", [0, -1, "much", True])
def test_a_rate_that_is_none_leaves_the_cost_out(rate: Any) -> None:
    assert langfuse.cost(call(cost=2, currency="EUR", usd_rate=rate)).total is None


def test_a_currency_without_a_rate_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        call(cost=2, currency="CHF")

    lines = [record.getMessage() for record in caplog.records if "CHF" in record.getMessage()]
    assert lines == [
        "usage: costs in CHF are not sent to Langfuse, which reads them as US dollars: give usd_rate"
    ]
    assert [line for line in status().problems if "CHF" in line] == lines


def test_a_text_that_is_no_currency_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    call(cost=2, currency="the card 4111")

    assert "4111" not in caplog.text
