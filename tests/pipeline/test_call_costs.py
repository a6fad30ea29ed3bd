"""A model call leaves with its cost: once, by its own counts, and never 0 where the price is unknown."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from somatrace import semconv
from somatrace.pipeline.call_costs import NO_MODEL, OTHER_MODELS, CallCosts
from tests.support.otlp_server import Received, otlp_server
from tests.support.programs import otlp_env, run_program

PROGRAM = """
from somatrace import *
init_tracing("svc")
def call(name, model="gpt-4o-mini", **counts):
    with span(name, kind="llm") as made:
        if model:
            made.set_attribute("gen_ai.request.model", model)
        made.set_attribute("gen_ai.provider.name", "openai")
        usage(**counts)
"""
END = """
assert flush(60), status()
print(status().unpriced)
"""


def spans_of(program: str, **env: str) -> tuple[dict[str, Received], str]:
    """The spans that arrive by name, and what the program has printed."""
    with otlp_server() as server:
        lines = "\n".join(line.strip() if line[:8].isspace() else line for line in program.splitlines())
        done = run_program(PROGRAM + lines + END, otlp_env(server.url, **env))
        return {span.name: span for span in server.spans}, done.stdout


def cost_of(span: Received) -> dict[str, Decimal]:
    """What Langfuse reads as the cost, exactly."""
    found: dict[str, Decimal] = json.loads(
        str(span.attributes[semconv.OBSERVATION_COST]), parse_float=Decimal
    )
    return found


def test_a_call_has_the_cost_of_its_disjoint_counts() -> None:
    found, unpriced = spans_of('call("a", input_tokens=1000, output_tokens=100, cache_read_tokens=400)')

    made = found["a"].attributes
    assert json.loads(str(made[semconv.OBSERVATION_USAGE])) == {
        "input": 600,
        "input_cached_tokens": 400,
        "output": 100,
    }
    # 0.15, 0.075 and 0.60 dollars a million: openai.com/api/pricing, 2026-11
    assert cost_of(found["a"]) == {
        "input": Decimal("0.00009"),
        "input_cached_tokens": Decimal("0.00003"),
        "output": Decimal("0.00006"),
        "total": Decimal("0.00018"),
    }
    assert made[semconv.COST_AMOUNT] == 0.00018
    assert made[semconv.COST_CURRENCY] == "USD"
    assert made[semconv.COST_SOURCE] == "table"
    assert str(made[semconv.PRICE_TABLE]).startswith("genai-prices ")
    assert unpriced == "{}\n"


def test_a_span_that_is_copied_has_the_same_cost_as_one_that_is_not() -> None:
    found, _ = spans_of(
        """
        call("simple", input_tokens=1000, output_tokens=100, cache_read_tokens=400)
        with span("copied", kind="llm") as made:
            made.add_event("first token")
            made.set_attribute("gen_ai.request.model", "gpt-4o-mini")
            made.set_attribute("gen_ai.provider.name", "openai")
            usage(input_tokens=1000, output_tokens=100, cache_read_tokens=400)
        """.replace("\n            made", "\n    made").replace("\n            usage", "\n    usage")
    )

    costs = [
        {key: value for key, value in span.attributes.items() if "cost" in key} for span in found.values()
    ]
    assert costs[0] == costs[1]
    assert costs[0][semconv.COST_AMOUNT] == 0.00018


def test_an_unknown_price_is_said_and_counted_and_is_not_zero() -> None:
    found, unpriced = spans_of(
        """
        call("own", "our-llama", input_tokens=1000, output_tokens=100)
        call("again", "our-llama", input_tokens=1000, output_tokens=100)
        call("nameless", "", input_tokens=1000, output_tokens=100)
        """
    )

    for span in found.values():
        assert span.attributes[semconv.COST_SOURCE] == "unknown"
        assert semconv.COST_AMOUNT not in span.attributes
        assert semconv.OBSERVATION_COST not in span.attributes
    assert unpriced == f"{{'our-llama': 2, '{NO_MODEL}': 1}}\n"


def test_a_call_that_waits_with_and_without_its_content_is_counted_once(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"tenants": {"acme": {"mode": "full", "expires": "2100-01-01"}}}))
    _, unpriced = spans_of(
        'with bind(tenant_id="acme"): call("own", "our-llama", input_tokens=1)',
        SOMATRACE_CONTENT_POLICY_FILE=str(policy),
    )

    assert unpriced == "{'our-llama': 1}\n"


def test_a_call_without_tokens_has_no_cost_and_is_not_unknown() -> None:
    found, unpriced = spans_of('call("failed", input_tokens=0, output_tokens=0)')

    assert not [key for key in found["failed"].attributes if "cost" in key]
    assert unpriced == "{}\n"


def test_what_the_program_says_a_call_has_cost_is_kept() -> None:
    found, _ = spans_of('call("a", input_tokens=1000, output_tokens=100, cost=0.5)')

    assert cost_of(found["a"])["total"] == Decimal("0.5")
    assert found["a"].attributes[semconv.COST_SOURCE] == "provider"
    assert semconv.PRICE_TABLE not in found["a"].attributes


def test_the_price_is_that_of_the_users_file_also_after_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    rows = [{"model": "our-llama", "prices": {"input": 1, "output": 2}, "currency": "EUR"}]
    file.write_text(json.dumps({"version": "contract 1", "prices": rows}))
    changed = json.dumps({"version": "contract 2", "prices": [{**rows[0], "currency": "USD"}]})
    found, unpriced = spans_of(
        f"""
        call("before", "our-llama", input_tokens=1000000, output_tokens=500000)
        assert flush(60), status()
        open({str(file)!r}, "w").write({changed!r})
        call("after", "our-llama", input_tokens=1000000, output_tokens=500000)
        """,
        SOMATRACE_PRICES_FILE=str(file),
    )

    before, after = found["before"].attributes, found["after"].attributes
    assert (before[semconv.COST_AMOUNT], before[semconv.COST_CURRENCY]) == (2.0, "EUR")
    assert semconv.OBSERVATION_COST not in before  # Langfuse would read it as dollars
    assert cost_of(found["after"])["total"] == 2
    assert (before[semconv.PRICE_TABLE], after[semconv.PRICE_TABLE]) == ("contract 1", "contract 2")
    assert after[semconv.COST_SOURCE] == "file"
    assert unpriced == "{}\n"


def test_a_mistake_in_the_file_is_a_problem_of_the_status(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"prices": [{"model": "our-llama", "prices": {"input": "cheap"}}]}')
    _, printed = spans_of(
        """
        call("a", input_tokens=1)
        assert flush(60), status()
        print(*status().problems)
        """,
        SOMATRACE_PRICES_FILE=str(file),
    )

    assert "SOMATRACE_PRICES_FILE" in printed
    assert "input" in printed


def test_a_request_that_two_spans_report_is_paid_once() -> None:
    found, _ = spans_of(
        """
        from opentelemetry.trace import get_tracer
        frameworks = get_tracer("opentelemetry.instrumentation.langchain")
        with frameworks.start_as_current_span("ChatOpenAI.chat") as above:
            call("openai.chat", input_tokens=1000, output_tokens=100)
            above.set_attribute("gen_ai.request.model", "gpt-4o-mini")
            above.set_attribute("gen_ai.usage.input_tokens", 1000)
            above.set_attribute("gen_ai.usage.output_tokens", 100)
        """.replace("\n            ", "\n    ")
    )

    assert found["openai.chat"].attributes[semconv.COST_AMOUNT] == 0.00021
    assert not [key for key in found["ChatOpenAI.chat"].attributes if ".cost" in key]


def test_models_without_a_price_are_counted_within_a_bound() -> None:
    costs = CallCosts(_no_prices)

    for number in range(150):
        costs.of({semconv.REQUEST_MODEL: f"model-{number}"}, {"input": 1}, 0)

    assert len(costs.unpriced) == 101
    assert costs.unpriced[OTHER_MODELS] == 50


def test_a_fault_in_pricing_costs_the_span_nothing_but_its_cost() -> None:
    costs = CallCosts(lambda: 1 / 0)  # type: ignore[arg-type, return-value]

    assert costs.of({semconv.REQUEST_MODEL: "gpt-4o"}, {"input": 1}, 0) == {semconv.COST_SOURCE: "unknown"}


def test_prices_that_cannot_be_read_again_stay_as_they_are() -> None:
    costs = CallCosts(_no_prices)
    costs.of({semconv.REQUEST_MODEL: "gpt-4o"}, {"input": 1}, 0)

    costs.refresh()

    assert costs.unpriced == {"gpt-4o": 1}


class _Priceless:
    def refresh(self) -> None:
        raise OSError

    def price(self, *_: Any, **__: Any) -> None:
        return None


def _no_prices() -> Any:
    return _Priceless()


@pytest.mark.parametrize("tier", ["openai.response.service_tier", "gen_ai.openai.response.service_tier"])
def test_a_call_that_was_served_at_another_tier_has_its_price_or_none(tier: str) -> None:
    costs = CallCosts(_book())
    values = {semconv.REQUEST_MODEL: "gpt-4o-mini", semconv.PROVIDER: "openai"}

    usual = costs.of({**values, tier: "default"}, {"input": 1000}, 0)
    reserved = costs.of({**values, tier: "our-reserved-capacity"}, {"input": 1000}, 0)

    assert usual[semconv.COST_SOURCE] == "table"
    assert reserved == {semconv.COST_SOURCE: "unknown"}


def _book() -> Any:
    from somatrace.costs.price_book import PriceBook

    return PriceBook
