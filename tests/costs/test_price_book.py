"""A call costs what its disjoint counts cost; what is unknown has no price, and never the price 0."""

from __future__ import annotations

import datetime as dt
import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.costs.price_book import PriceBook
from somatrace.costs.rates import Rates
from somatrace.costs.usage_units import FALLBACKS
from somatrace.pipeline.token_counts import token_counts

DAY = dt.date(2026, 11, 30)
MILLION = 1_000_000


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def cost(
    book: PriceBook, model: str, usage: dict[str, int], when: dt.date | int = DAY, **more: str
) -> Decimal:
    price = book.price(more.pop("provider", "openai"), model, usage, when, **more)
    assert price is not None
    return price.total


# -- what peers get wrong ---------------------------------------------------------------------------


def test_cached_tokens_are_counted_once(book):
    attributes = {"gen_ai.usage.input_tokens": 10_000, "gen_ai.usage.cache_read.input_tokens": 9_000}
    usage = token_counts({**attributes, "gen_ai.usage.output_tokens": 100}).details

    # 1,000 x 2.50 + 9,000 x 1.25 + 100 x 10; with the cached tokens in the input, too, it would be 0.037,25
    assert cost(book, "gpt-4o", usage) == Decimal("0.01475")


def test_reasoning_is_part_of_the_output_and_costs_once(book):
    attributes = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 2_000}
    usage = token_counts({**attributes, "gen_ai.usage.reasoning.output_tokens": 1_500}).details

    # 1,000 x 1.10 + 2,000 x 4.40
    assert cost(book, "o3-mini", usage) == Decimal("0.0099")


def test_a_sum_beside_its_parts_costs_nothing_more(book):
    usage = {"input": 1_000, "output": 100}

    assert cost(book, "gpt-4o", {**usage, "total": 1_100}) == cost(book, "gpt-4o", usage)


@pytest.mark.parametrize(
    "usage",
    [{}, {"input": 0, "output": 0}, {"total": 0}, {"total": 1_000}, {"input": 10, "video_seconds": 3}],
    ids=["none", "zeros", "no tokens", "only a sum", "something without a price"],
)
def test_usage_that_is_not_known_has_no_price(book, usage):
    assert book.price("openai", "gpt-4o", usage, DAY) is None


def test_a_sum_alone_is_priced_where_input_and_output_cost_the_same(book):
    assert cost(book, "text-embedding-3-small", {"total": MILLION}) == Decimal("0.02")


def test_a_model_that_is_free_costs_nothing_and_that_is_known(book):
    price = book.price("openai", "omni-moderation-latest", {"input": 1_000}, DAY)

    assert price is not None
    assert price.total == 0


def test_an_hour_in_the_cache_does_not_cost_what_five_minutes_cost(book):
    written = {"input_cache_creation_5m": MILLION, "input_cache_creation_1h": MILLION}

    assert cost(book, "claude-haiku-4-5", written, provider="anthropic") == Decimal("1.25") + 2


def test_an_hour_in_the_cache_has_no_price_where_only_that_of_five_minutes_is_known():
    rates = Rates({"input": Decimal(3), "input_cache_creation": Decimal("3.75")})

    assert rates.cost_of({"input_cache_creation_1h": 1}) is None


# -- rows -------------------------------------------------------------------------------------------


def test_a_price_says_whose_it_is(book):
    price = book.price("litellm", "azure/gpt-4o-mini", {"input": 1_000, "output": 100}, DAY)

    assert price is not None
    assert (price.currency, price.source, price.provider, price.model) == (
        "USD",
        "table",
        "openai",
        "gpt-4o-mini",
    )
    assert price.version.startswith("genai-prices ")
    assert price.details == {"input": Decimal("0.00015"), "output": Decimal("0.00006")}


def test_a_request_costs_its_own_price_once(book):
    price = book.price("perplexity", "sonar", {"input": 1_000, "output": 1_000}, DAY)

    assert price is not None
    assert price.details["requests"] == Decimal("0.005")
    assert price.total == Decimal("0.007")


def test_a_batch_costs_half(book):
    usage = {"input": 1_000, "output": 1_000}

    assert cost(book, "gpt-4o", usage, service="batch") * 2 == cost(book, "gpt-4o", usage)


@pytest.mark.parametrize("service", ["default", "auto", "Standard"])
def test_the_usual_service_costs_the_usual_price(book, service):
    assert cost(book, "gpt-4o", {"input": 1}, service=service) == cost(book, "gpt-4o", {"input": 1})


def test_a_service_without_a_price_is_unknown(book):
    assert book.price("openai", "gpt-4o", {"input": 1}, DAY, service="scale") is None


def test_of_batch_prices_the_last_one_that_has_begun_applies(book):
    usage = {"input": MILLION}

    days = (dt.date(2026, 10, 15), dt.date(2026, 10, 21), dt.date(2026, 10, 30))

    assert [
        cost(book, "mistral-large-4", usage, day, provider="mistral", service="batch") for day in days
    ] == [
        Decimal("0.34"),
        Decimal("0.68"),
        Decimal("0.35"),
    ]


def test_a_price_changes_on_its_day_in_utc(book):
    before = dt.datetime(2025, 6, 9, 23, 59, 59, tzinfo=dt.UTC)
    nanoseconds = int(before.timestamp()) * 10**9

    assert cost(book, "o3", {"input": MILLION}, nanoseconds) == 10
    assert cost(book, "o3", {"input": MILLION}, nanoseconds + 10**9) == 2


def test_a_dearer_tier_applies_to_the_whole_call_and_counts_all_input(book):
    usage = {"input": 100_000, "input_cached_tokens": 100_000, "output": 1_000}

    # 100,000 x 1.25 + 100,000 x 0.125 + 1,000 x 10, and from the next token on the double, output 15
    assert cost(book, "gemini-2.5-pro", usage, provider="google") == Decimal("0.1475")
    above = cost(book, "gemini-2.5-pro", {**usage, "input": 100_001}, provider="google")
    assert above == Decimal("0.2900025")


# -- the memory -------------------------------------------------------------------------------------


def test_calls_of_any_number_of_models_take_bounded_memory(book):
    for number in range(3_000):
        assert book.price("openai", f"model-{number}", {"input": 1}, DAY) is None
    assert book.price("openai", "m" * 100_000, {"input": 1}, DAY) is None

    assert len(book._memo) <= 1024
    assert all(len(model) < 1_000 for _, model, *_ in book._memo)


def test_the_decimal_context_of_the_program_changes_no_price(book):
    with decimal.localcontext() as context:
        context.prec = 2
        assert cost(book, "gpt-4o", {"input": 123_457}) == Decimal("0.3086425")


# -- properties -------------------------------------------------------------------------------------

PRICES = st.dictionaries(
    st.sampled_from(sorted(FALLBACKS)),
    st.decimals(min_value=0, max_value=1_000, places=6),
    min_size=1,
)
COUNTS = st.dictionaries(st.sampled_from(sorted(FALLBACKS)), st.integers(0, 2**63))


@given(PRICES, COUNTS)
def test_the_total_is_the_sum_of_the_parts(prices, usage):
    found = Rates(prices).cost_of(usage)

    if found is not None:
        total, parts = found
        with decimal.localcontext() as context:
            context.prec = 100
            assert total == sum(parts.values())
            assert parts.keys() - {"requests"} <= {name for name, count in usage.items() if count}


@given(PRICES, COUNTS, st.sampled_from(sorted(FALLBACKS)))
def test_more_of_anything_never_costs_less(prices, usage, name):
    rates = Rates(prices)
    before, after = rates.cost_of(usage), rates.cost_of({**usage, name: usage.get(name, 0) + 1})

    if before is not None and after is not None:
        assert after[0] >= before[0]


@given(PRICES, COUNTS)
def test_each_count_is_priced_on_its_own(prices, usage):
    rates = Rates({name: price for name, price in prices.items() if name != "requests"})
    whole = rates.cost_of(usage)
    single = [rates.cost_of({name: count}) for name, count in usage.items() if count]

    if whole is None:
        assert not single or None in single
    else:
        with decimal.localcontext() as context:
            context.prec = 100
            assert whole[0] == sum(found[0] for found in single if found is not None)
