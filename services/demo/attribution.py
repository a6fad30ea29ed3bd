"""What the model server says it served, beside what a cost report attributes, in the same terms."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from somatrace.costs import CostReport
from somatrace.runtime.text_table import table

#: What the report is by; the session is the id of the request.
BY = ("tenant", "workflow", "session_id", "model")
MILLION = 1_000_000
#: Calls without a request id are those of the recall service at its start.
AT_START = ("platform", "index-articles", "")


class BadFileError(ValueError):
    """A file of prices or of served calls cannot be used."""


class Key(NamedTuple):
    tenant: str
    workflow: str
    request: str
    model: str


@dataclass(frozen=True)
class Bill:
    """Each request to the model server is a call: a failed one is an error without tokens, and its retry is
    another call."""

    calls: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    cost: Decimal = Decimal()

    def __add__(self, other: Bill) -> Bill:
        return Bill(
            self.calls + other.calls,
            self.errors + other.errors,
            self.input + other.input,
            self.output + other.output,
            self.cost + other.cost,
        )

    def __sub__(self, other: Bill) -> Bill:
        return self + Bill(-other.calls, -other.errors, -other.input, -other.output, -other.cost)

    def __str__(self) -> str:
        return (
            f"{self.calls} calls, {self.errors} errors, {self.input}+{self.output} tokens, {self.cost:f} USD"
        )


Rates = Mapping[str, tuple[Decimal, Decimal]]


def rates(file: Path) -> Rates:
    """Dollars for a token of input and of output, by model."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)["prices"]
        return {
            row["model"]: (
                Decimal(row["prices"]["input"]) / MILLION,
                Decimal(row["prices"]["output"]) / MILLION,
            )
            for row in rows
        }
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise BadFileError(f"{file} is no price file ({type(error).__name__})") from None


def served(file: Path, prices: Rates) -> dict[Key, Bill]:
    """The model server's account by key, priced with `prices`. Raises BadFileError."""
    bills: dict[Key, Bill] = defaultdict(Bill)
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            used = call["input"], call["output"]
            price = prices[call["model"]] if any(used) else (Decimal(), Decimal())
            cost = used[0] * price[0] + used[1] * price[1]
            key = Key(*_of_label(call["label"]), call["model"])
            bills[key] += Bill(1, int(call["status"] >= 400), *used, cost)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFileError(
            f"{file} is no account of served calls ({type(error).__name__}: {error})"
        ) from None
    return dict(bills)


def reported(report: CostReport) -> dict[Key, Bill]:
    """The rows of a cost report by key; an unknown cost is nothing."""
    return {
        Key(*row.labels): Bill(
            row.calls, row.errors, row.input_tokens, row.output_tokens, row.cost or Decimal()
        )
        for row in report.rows
    }


def differing(served: Mapping[Key, Bill], reported: Mapping[Key, Bill]) -> list[Key]:
    """The keys whose figures differ."""
    keys = sorted(served.keys() | reported.keys())
    return [key for key in keys if served.get(key, Bill()) != reported.get(key, Bill())]


def table_lines(served: Mapping[Key, Bill], reported: Mapping[Key, Bill]) -> Iterator[str]:
    """Both figures per tenant, workflow and model, and the total, with the difference of the costs."""
    headings = ("tenant", "workflow", "model", "", "calls", "errors", "input", "output", "cost USD")
    rows: list[Sequence[str]] = [headings]
    there, here = _without_request(served), _without_request(reported)
    for labels in sorted(there.keys() | here.keys()):
        rows += _three(labels, there[labels], here[labels])
    total = (sum(there.values(), Bill()), sum(here.values(), Bill()))
    rows += _three(("total", "", ""), *total)
    yield from table(rows, right=range(4, len(headings)))


def _three(labels: Sequence[str], there: Bill, here: Bill) -> list[Sequence[str]]:
    return [
        (*labels, "served", *_cells(there)),
        ("", "", "", "reported", *_cells(here)),
        ("", "", "", "difference", *_cells(here - there)),
    ]


def _cells(bill: Bill) -> list[str]:
    # every digit of a difference that six would hide
    money = f"{bill.cost:f}" if 0 < abs(bill.cost) < Decimal("0.001") else f"{bill.cost:,.6f}"
    return [*(f"{count:,}" for count in (bill.calls, bill.errors, bill.input, bill.output)), money]


def _without_request(bills: Mapping[Key, Bill]) -> dict[tuple[str, str, str], Bill]:
    sums: dict[tuple[str, str, str], Bill] = defaultdict(Bill)
    for key, bill in bills.items():
        sums[key.tenant, key.workflow, key.model] += bill
    return sums


def _of_label(label: str) -> tuple[str, str, str]:
    """Tenant, workflow and request id: `load-acme-bc-order-status` says all three."""
    if not label:
        return AT_START
    _, tenant, _, workflow = label.split("-", 3)
    return tenant, workflow, label
