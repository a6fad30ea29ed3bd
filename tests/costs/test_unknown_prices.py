"""`somatrace prices --unknown` lists the models of calls without a known cost, with rows to fill in."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from somatrace.costs.price_book import PriceBook
from somatrace.runtime.clock import clock
from tests.costs.test_cost_report import SECOND, START, call, langfuse
from tests.support.waiting import HANG

__all__ = ["langfuse"]


def unknown(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "somatrace", "prices", "--unknown", *arguments],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def unpriced(model: str, provider: str = "openai") -> dict:
    return call("acme", model=model, cost=None, **{"gen_ai.provider.name": provider})


@pytest.fixture
def calls(langfuse, export):
    """Calls of models with and without a price."""
    request = export()
    request.span(start_ns=START, attributes=call("acme", model="gpt-4o"))
    request.span(start_ns=START, attributes=unpriced("own-1", "azure.ai.openai"))
    for _ in range(2):
        request.span(start_ns=START, attributes=unpriced('our-"llama"', "langchain"))
    request.span(start_ns=START, attributes=unpriced("\u202ename", "x"))
    request.span(start_ns=START, attributes=unpriced("gpt-4o-mini"))
    request.span(start_ns=START - 2 * 86400 * SECOND, attributes=unpriced("older"))
    langfuse.send(request)
    return langfuse


def test_models_without_a_price_are_listed_with_their_calls(calls):
    done = unknown("--since", "24h")

    heading, llama, own, mini, odd, count, *_ = done.stdout.splitlines()
    assert heading.split() == ["provider", "model", "calls", "price"]
    assert llama.split() == ["langchain", 'our-"llama"', "2", "missing"]
    assert mini.split()[:3] == ["openai", "gpt-4o-mini", "1"]
    assert own.split() == ["azure.ai.openai", "own-1", "1", "missing"]
    assert odd.split() == ["x", r"\u202ename", "1", "missing"]
    assert count.startswith("prices: 5 calls without a known cost from ")
    assert count.endswith(f"read from langfuse, {calls.url}")
    assert "older" in unknown().stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_the_rows_are_a_price_file_once_their_nulls_are_prices(calls, tmp_path):
    rows = unknown().stdout.partition("SOMATRACE_PRICES_FILE:\n")[2]
    empty, filled = tmp_path / "empty.json", tmp_path / "filled.json"
    empty.write_text(rows)
    filled.write_text(rows.replace("null", "0.5"))
    check = [sys.executable, "-m", "somatrace", "prices", "--check"]

    refused = subprocess.run([*check, empty], capture_output=True, text=True, timeout=HANG, check=False)
    subprocess.run([*check, filled], timeout=HANG, check=True)

    assert "line 2: prices[0].prices.input: use a number" in refused.stderr
    book, day = PriceBook(filled), clock.now().date()
    seen = [("langchain", 'our-"llama"'), ("azure.ai.openai", "own-1"), ("openai", "older")]
    assert all(book.price(*model, {"input": 1, "output": 1}, day) for model in seen)


def test_models_with_a_price_today_have_no_row_to_fill_in(calls):
    report = json.loads(unknown("--json", "--since", "24h").stdout)

    assert {(model["model"], model["has_price"]) for model in report["models"]} == {
        ('our-"llama"', False),
        ("\u202ename", False),
        ("own-1", False),
        ("gpt-4o-mini", True),
    }
    assert report["prices"] == [
        {"model": 'our-"llama"', "prices": {"input": None, "output": None}},
        {"provider": "azure", "model": "own-1", "prices": {"input": None, "output": None}},
    ]
    assert (report["source"], report["exit_code"]) == ("langfuse", 0)


def test_nothing_unknown_says_so(langfuse, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme"))
    langfuse.send(request)

    done = unknown()

    assert done.stdout.startswith("prices: no call without a known cost from ")
    assert len(done.stdout.splitlines()) == 1
    assert done.returncode == 0


def test_nothing_to_read_is_unavailable_and_exits_with_1():
    done = unknown()

    assert done.stdout.startswith("prices: unavailable: no span is stored on this machine")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--since", "last week"), "--since: use a span of time before now"),
        (("gpt-4o",), "--unknown takes neither words nor --check"),
        (("--check", "prices.json"), "--unknown takes neither words nor --check"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(arguments, message):
    done = unknown(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_price_file_with_a_mistake_exits_with_2(calls, tmp_path, monkeypatch):
    file = tmp_path / "prices.json"
    file.write_text('{"prices": [{"model": "own-1"}]}')
    monkeypatch.setenv("SOMATRACE_PRICES_FILE", str(file))

    done = unknown()

    assert done.returncode == 2
    assert done.stderr == f"somatrace: SOMATRACE_PRICES_FILE: {file}: line 1: prices[0].prices: is missing\n"
