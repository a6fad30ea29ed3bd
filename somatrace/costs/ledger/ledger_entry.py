"""What the ledger keeps of a model call: by what it is summed up, and its figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.costs.billing_rule import USD, billed
from somatrace.local.otlp import usage
from somatrace.local.otlp.observation_parts import SUMMING_OPERATIONS, level_of, model_of, observation_type
from somatrace.local.store.definitions import USAGE_TYPES

#: Days of every zone begin on one: all offsets from UTC in use are multiples of it (IANA time zone database).
QUARTER_SECONDS: Final = 900
#: Amounts of money are whole numbers of this part of a currency's unit, so that sums are exact.
TRILLIONTH: Final = Decimal("1e-12")
#: Characters of a label that are kept.
_LONGEST: Final = 200
#: A call that costs more is a mistake in a price, and its cost unknown.
_DEAREST: Final = Decimal(1_000_000)


class LedgerKey(NamedTuple):
    """By what calls are summed up.

    `quarter` is the beginning of the quarter of an hour in which they began, in seconds since the epoch. A
    label is "" where there is none; `tags` has the user's own, as JSON.
    """

    quarter: int
    tenant: str
    workflow: str
    agent: str
    model: str
    provider: str
    service: str
    tags: str
    currency: str


class LedgerSums(NamedTuple):
    """The figures of calls; `cost` in trillionths of the currency's unit, without the `unknown` calls."""

    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost: int
    unknown: int

    def plus(self, other: LedgerSums) -> LedgerSums:
        return LedgerSums(*map(sum, zip(self, other, strict=True)))


class LedgerTotals(dict[LedgerKey, LedgerSums]):
    """Sums by key."""

    def add(self, key: LedgerKey, sums: LedgerSums) -> None:
        known = self.get(key)
        self[key] = sums if known is None else known.plus(sums)

    def add_all(self, others: Iterable[tuple[LedgerKey, LedgerSums]]) -> None:
        for key, sums in others:
            self.add(key, sums)


def may_be_billed(attributes: Mapping[str, Any]) -> bool:
    """Whether a span with these attributes may have figures: most have none."""
    return semconv.USAGE_COUNTED in attributes or observation_type(attributes) in USAGE_TYPES


def ledger_entry(
    attributes: Mapping[str, Any], service: str, status: int, start_ns: int, tag_keys: Sequence[str]
) -> tuple[LedgerKey, LedgerSums] | None:
    """The entry of an ended span with these guarded attributes; None if it adds nothing.

    `status` is the OTLP code. Raises ArithmeticError, TypeError or ValueError for counts that are none.
    """
    if not may_be_billed(attributes):
        return None
    is_sum = attributes.get(semconv.OPERATION) in SUMMING_OPERATIONS
    found = billed(
        observation_type(attributes),
        level_of(attributes, status),
        {} if is_sum else usage.usage(attributes).details,
        {} if is_sum else usage.cost(attributes).details,
        attributes.get,
    )
    if found is None:
        return None
    cost = found.cost if found.cost is None or abs(found.cost) <= _DEAREST else None
    key = LedgerKey(
        start_ns // 1_000_000_000 // QUARTER_SECONDS * QUARTER_SECONDS,
        _label(attributes.get(semconv.TENANT)),
        _label(attributes.get(semconv.WORKFLOW)),
        _label(attributes.get(semconv.AGENT)),
        "" if is_sum else _label(model_of(attributes)),
        _label(attributes.get(semconv.PROVIDER) or attributes.get(semconv.SYSTEM)),
        _label(service),
        _tags(attributes, tag_keys),
        USD if cost is None else found.currency,
    )
    return key, LedgerSums(
        int(found.is_call),
        int(found.is_call and found.failed),
        found.input_tokens,
        found.output_tokens,
        0 if cost is None else int((cost / TRILLIONTH).to_integral_value()),
        int(cost is None),
    )


def encoded(entries: Iterable[tuple[LedgerKey, LedgerSums]]) -> bytes:
    """The payload of a record with these entries."""
    rows = [[*key, *sums] for key, sums in entries]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decoded(payload: bytes) -> Iterator[tuple[LedgerKey, LedgerSums]]:
    """The entries of a record. Raises TypeError or ValueError for any other payload."""
    size = len(LedgerKey._fields)
    for row in json.loads(payload.decode("utf-8", "surrogatepass")):
        quarter, *labels = row[:size]
        if not (type(quarter) is int and all(type(label) is str for label in labels)):
            raise ValueError("not an entry of a ledger")
        if not all(type(figure) is int for figure in row[size:]):
            raise ValueError("not an entry of a ledger")
        yield LedgerKey(quarter, *labels), LedgerSums(*row[size:])


def _tags(attributes: Mapping[str, Any], tag_keys: Sequence[str]) -> str:
    found = {key: _label(attributes[key]) for key in tag_keys if key in attributes}
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""


def _label(value: Any) -> str:
    try:
        return "" if value is None else str(value)[:_LONGEST]
    except ValueError:  # an integer with thousands of digits
        return ""
