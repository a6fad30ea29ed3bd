"""The user's price file: contracts, self-hosted models, deployments; a mistake is named by line and field."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from decimal import Decimal
from pathlib import Path

import pytest

from somatrace.costs.price_book import Price, PriceBook
from somatrace.costs.price_file import PriceFileError, parse_prices

DAY = dt.date(2026, 11, 30)
MILLION = 1_000_000


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "prices.json"


def written(file: Path, *rows: dict, **top: object) -> PriceBook:
    file.write_text(json.dumps({**top, "prices": list(rows)}))
    return PriceBook(file)


def input_price(
    book: PriceBook, provider: str, model: str, when: dt.date | int = DAY, **more: str
) -> Price | None:
    return book.price(provider, model, {"input": MILLION}, when, **more)


# -- whose price applies ----------------------------------------------------------------------------


def test_a_contract_price_wins_over_the_published_one(file):
    book = written(file, {"provider": "openai", "model": "gpt-4o", "prices": {"input": 2, "output": 8}})

    price = input_price(book, "openai", "openai/gpt-4o")

    assert price is not None
    assert (price.total, price.currency, price.source) == (2, "USD", "file")


def test_the_file_gives_a_version_or_has_that_of_its_contents(file):
    row = {"model": "own", "prices": {"input": 1}}

    named = input_price(written(file, row, version="2026-Q4"), "vllm", "own")
    unnamed = input_price(written(file, row), "vllm", "own")

    assert named is not None
    assert unnamed is not None
    assert named.version == "2026-Q4"
    assert len(unnamed.version) == 12


def test_a_contract_with_one_provider_is_none_with_another(file):
    book = written(file, {"provider": "openai", "model": "gpt-4o", "prices": {"input": 2}})

    price = input_price(book, "azure", "gpt-4o")

    assert price is not None
    assert price.source == "table"


def test_a_self_hosted_model_needs_no_provider(file):
    book = written(file, {"model": "my-org/llama", "prices": {"input": "0.05"}, "currency": "EUR"})

    found = [input_price(book, *call) for call in (("openai", "my-org/llama"), ("vllm", "MY-ORG/LLAMA"))]

    assert [price and (price.total, price.currency) for price in found] == [(Decimal("0.05"), "EUR")] * 2


@pytest.mark.parametrize(
    ("provider", "model", "server"),
    [
        ("openai", "our-llama", "vllm.internal"),
        ("openai", "openai/our-llama", "vllm.internal"),
        ("litellm", "hosted_vllm/our-llama", ""),
        ("ollama", "our-llama", "localhost"),
        ("", "our-llama", "vllm.internal"),
    ],
)
def test_a_self_hosted_model_is_found_whatever_its_client_calls_it(file, provider, model, server):
    book = written(file, {"model": "our-llama", "prices": {"input": 1}})

    assert input_price(book, provider, model, server_address=server) is not None


def test_the_currency_of_the_file_is_that_of_rows_without_one(file):
    row = {"model": "a", "prices": {"input": 1}}
    book = written(file, row, {**row, "model": "b", "currency": "CHF"}, currency="EUR")

    found = [input_price(book, "vllm", model) for model in "ab"]

    assert [price and price.currency for price in found] == ["EUR", "CHF"]


def test_a_price_applies_from_its_first_to_its_last_day(file):
    row = {
        "provider": "openai",
        "model": "gpt-4o",
        "prices": {"input": 1},
        "from": "2026-01-01",
        "until": "2026-06-30",
    }
    book = written(file, row)

    days = [dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2026, 6, 30), dt.date(2026, 7, 1)]

    found = [input_price(book, "openai", "gpt-4o", day) for day in days]
    assert [price and price.source for price in found] == ["table", "file", "file", "table"]


def test_of_several_rows_the_last_one_that_applies_wins(file):
    row = {"model": "own", "prices": {"input": 1}}
    book = written(
        file, row, {**row, "prices": {"input": 2}}, {**row, "prices": {"input": 3}, "from": "2027-01-01"}
    )

    price = input_price(book, "vllm", "own")

    assert price is not None
    assert price.total == 2


def test_a_row_for_a_server_applies_there_only(file):
    row = {"model": "own", "prices": {"input": 1}}
    book = written(file, row, {**row, "prices": {"input": 2}, "server": "*.gpu.example.com"})

    found = [
        input_price(book, "vllm", "own", server_address=host)
        for host in ("a.gpu.example.com:8000", "b.example.com")
    ]

    assert [price and price.total for price in found] == [2, 1]


def test_prices_by_the_hour_may_span_midnight(file):
    row = {"model": "own", "prices": {"input": 4}}
    book = written(file, row, {**row, "prices": {"input": 1}, "hours": ["22:00", "06:00"]})
    midnight = int(dt.datetime(2026, 11, 30, tzinfo=dt.UTC).timestamp())

    found = [input_price(book, "vllm", "own", (midnight + hour * 3600) * 10**9) for hour in (0, 5, 6, 21, 22)]

    assert [price and price.total for price in found] == [1, 1, 4, 4, 1]


def test_a_tier_and_a_batch_price_can_be_given(file):
    row = {"model": "own", "prices": {"input": 1}, "above": [[1000, {"input": 3}]]}
    book = written(file, row, {"model": "own", "prices": {"input": "0.5"}, "service": "batch"})

    dear, batch = input_price(book, "vllm", "own"), input_price(book, "vllm", "own", service="batch")

    assert dear is not None
    assert batch is not None
    assert (dear.total, batch.total) == (3, Decimal("0.5"))


def test_a_service_that_a_contract_does_not_name_has_no_price(file):
    book = written(file, {"provider": "openai", "model": "gpt-4o", "prices": {"input": 2}})

    assert input_price(book, "openai", "gpt-4o", service="batch") is None


PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2"


@pytest.mark.parametrize(
    ("provider", "model", "server", "wanted"),
    [
        ("azure", "chat-prod", "", "gpt-4o-mini"),
        ("azure", "chat", "acme.openai.azure.com", "gpt-4o"),
        ("azure", "chat", "other.openai.azure.com", None),
        ("aws.bedrock", PROFILE, "", "amazon.nova-pro-v1:0"),
        ("openai", "smart", "litellm.internal", "claude-sonnet-4-5"),
        ("azure", "assistant", "", "gpt-4o"),
    ],
)
def test_deployments_have_the_prices_of_their_models(file, provider, model, server, wanted):
    deployments = {
        "chat-prod": "gpt-4o-mini",
        "acme.openai.azure.com/chat": "gpt-4o",
        PROFILE: "us.amazon.nova-pro-v1:0",
        "assistant": "openai/gpt-4o",
        "smart": "anthropic/claude-sonnet-4-5",
    }
    book = written(file, deployments=deployments)

    price = input_price(book, provider, model, server_address=server)

    assert (price and price.model) == wanted


# -- mistakes ---------------------------------------------------------------------------------------

ROW = {"model": "own", "prices": {"input": 1}}
MISTAKES = [
    ("prices[0].prices.input: use a number from 0 to 1,000,000,000", {**ROW, "prices": {"input": -1}}),
    ("prices[0].prices.input: use a number from 0 to 1,000,000,000", {**ROW, "prices": {"input": "1e3"}}),
    ("prices[0].prices.input: use a number from 0 to 1,000,000,000", {**ROW, "prices": {"input": True}}),
    ("prices[0].prices.input: use at most 15 decimal places", {**ROW, "prices": {"input": 1e-20}}),
    ("prices[0].prices.inputs: is unknown; known are input, ", {**ROW, "prices": {"inputs": 1}}),
    ("prices[0].prices: give at least one price", {**ROW, "prices": {}}),
    ("prices[0].prices: is missing", {"model": "own"}),
    ("prices[0].model: is missing", {"prices": {"input": 1}}),
    ("prices[0].model: use a text of 1 to 256 printable characters", {**ROW, "model": ""}),
    ("prices[0].modell: is unknown", {**ROW, "modell": "x"}),
    ("prices[0].currency: use the code of a currency (ISO 4217)", {**ROW, "currency": "EUX"}),
    ("prices[0].from: use a date such as 2026-12-31", {**ROW, "from": "2026-02-30"}),
    ("prices[0].from: use a date such as 2026-12-31", {**ROW, "from": "1.2.2026"}),
    (
        "prices[0].until: use a date that is not before `from`",
        {**ROW, "from": "2026-02-01", "until": "2026-01-01"},
    ),
    ("prices[0].hours: use two times in UTC", {**ROW, "hours": ["8:00", "25:00"]}),
    ("prices[0].above[0]: use [input tokens, prices]", {**ROW, "above": [[0.5, {"input": 1}]]}),
    ("prices[0].server: use a host", {**ROW, "server": "*"}),
    ("prices[0].names: use a list", {**ROW, "names": "x"}),
    ("prices[0]: use an object", 3),
]


@pytest.mark.parametrize(("problem", "row"), MISTAKES)
def test_a_mistake_in_a_row_is_named_by_line_and_field(problem, row):
    text = f'{{\n "prices": [\n  {json.dumps(row)}\n ]\n}}'

    with pytest.raises(PriceFileError) as caught:
        _ = parse_prices(text.encode()).strict

    assert str(caught.value).startswith(f"line 3: {problem}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: not JSON: "),
        ("[]", "line 1: use an object: {...}"),
        ('{\n"prices": [\n}', "line 3: not JSON: "),
        ('{"prices": [] "x": 1}', "line 1: not JSON: `,` or `}` is missing"),
        ('{"currency": "EUR",\n"currency": "USD"}', "line 2: not JSON: 'currency' stands twice"),
        ("{} {}", "line 1: not JSON: more than one value"),
        ("[" * 100_000, "line 1: not JSON: nested too deeply"),
        ('{"prices": NaN}', "line 1: not JSON: not a number"),
        ('{"prices": 1e99999999999999999999}', "line 1: "),
        ('{\n"currency": "Euro"}', "line 2: currency: use the code of a currency (ISO 4217)"),
        ('{\n"price": []}', "line 2: price: is unknown; known are "),
        ('{\n"deployments": {\n"a": 1}}', "line 3: deployments.a: use a text"),
        ("\ufeff{\n1: 2}", "line 2: not JSON: a name must be a text in double quotes"),
    ],
)
def test_a_file_that_cannot_be_used_at_all_is_explained(text, problem):
    with pytest.raises(PriceFileError) as caught:
        parse_prices(text.encode())

    assert str(caught.value).startswith(problem)


def test_another_encoding_and_too_large_a_file_are_refused():
    with pytest.raises(PriceFileError, match="line 2: not UTF-8"):
        parse_prices(b"{\n\xff}")
    with pytest.raises(PriceFileError, match="larger than"):
        parse_prices(b" " * ((1 << 20) + 1))


# -- in a service -----------------------------------------------------------------------------------


def test_a_bad_row_is_ignored_with_one_line_and_the_others_apply(file, caplog):
    book = written(file, {**ROW, "currency": "EUX"}, {**ROW, "from": "soon"}, {**ROW, "model": "other"})

    with caplog.at_level(logging.WARNING, "somatrace"):
        bad, good = input_price(book, "vllm", "own"), input_price(book, "vllm", "other")

    assert bad is None
    assert good is not None
    assert book.problem.startswith("SOMATRACE_PRICES_FILE: line 1: prices[0].currency: ")
    assert book.problem.endswith("; the row is ignored, with 1 more")
    assert [record.getMessage() for record in caplog.records] == [book.problem]


def test_a_missing_file_leaves_the_published_prices(tmp_path):
    book = PriceBook(tmp_path / "none.json")

    assert input_price(book, "openai", "gpt-4o") is not None
    assert book.problem == (
        "SOMATRACE_PRICES_FILE: the file is missing: create it, or unset the variable; published prices apply"
    )


def test_a_changed_file_applies_after_a_refresh(file):
    book = written(file, ROW)
    assert input_price(book, "vllm", "own") is not None

    written(file, {**ROW, "prices": {"input": 7}})
    book.refresh()

    price = input_price(book, "vllm", "own")
    assert price is not None
    assert price.total == 7


def test_a_file_that_breaks_keeps_the_last_good_prices_until_it_is_repaired(file):
    book = written(file, ROW)
    assert input_price(book, "vllm", "own") is not None

    file.write_text("{")
    book.refresh()
    kept, problem = input_price(book, "vllm", "own"), book.problem
    file.unlink()
    book.refresh()
    missing = book.problem
    written(file, {**ROW, "prices": {"input": 2}})
    book.refresh()
    repaired = input_price(book, "vllm", "own")

    assert kept is not None
    assert kept.total == 1
    assert problem.endswith("; the last good prices stay in force")
    assert "the file is missing" in missing
    assert repaired is not None
    assert repaired.total == 2
    assert book.problem == ""


def test_a_file_that_is_back_unchanged_is_no_problem_any_more(file):
    book = written(file, ROW)
    book.refresh()
    away = file.with_suffix(".away")

    file.rename(away)
    book.refresh()
    problem = book.problem
    away.rename(file)
    book.refresh()

    assert "the file is missing" in problem
    assert book.problem == ""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_not_waited_for(file, make):
    make(file)
    book = PriceBook(file)

    assert input_price(book, "openai", "gpt-4o") is not None
    assert "SOMATRACE_PRICES_FILE: " in book.problem
