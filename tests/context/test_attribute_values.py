"""Values given to `span`, `event`, `fail` and `usage`: what of them becomes an attribute."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from somatrace import event, fail, span, usage
from somatrace.testing import Captured, assert_no_content, capture

CANARY = "canary-4471"


class Order(BaseModel):
    customer: str = CANARY


@dataclass
class Note:
    text: str = CANARY


class Color(enum.Enum):
    RED = CANARY


class Level(enum.StrEnum):
    HIGH = "high"


class Size(enum.IntEnum):
    BIG = 7


class Flags(enum.Flag):
    A = 1
    B = 2


class Text(str):
    """A text that shows something else, and equals everything."""

    __slots__ = ()

    def __str__(self) -> str:
        return CANARY

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Items(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise AssertionError(CANARY)

    def __len__(self) -> int:
        return 10**9


class Pretender:
    """Claims to be a text."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return str

    def __str__(self) -> str:
        return CANARY


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(CANARY)

    __str__ = __repr__ = __eq__ = __bool__ = __hash__ = None  # type: ignore[assignment]


class BrokenZone(dt.tzinfo):
    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        raise AssertionError(CANARY)


class Named(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        return CANARY


class Metaclassed(metaclass=Named):
    pass


def given_to_span(value: Any) -> Captured:
    with capture() as seen, span("work", value=value):
        pass
    return seen


def given_to_event(value: Any) -> Captured:
    with capture() as seen, span("work"):
        event("happened", value=value)
    return seen


def exported(seen: Captured) -> Any:
    work = seen.named("work")
    return (work.events[0].attributes if work.events else work.attributes).get("value")


ways = pytest.mark.parametrize("give", [given_to_span, given_to_event])


@ways
@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        (uuid.UUID(int=0x12345678), "00000000-0000-0000-0000-000012345678"),
        (dt.date(2026, 2, 3), "2026-02-03"),
        (dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC), "2026-02-03T04:05:00+00:00"),
        (dt.time(4, 5), "04:05:00"),
        (Decimal("12.50"), "12.50"),
        (Color.RED, "RED"),
        (Level.HIGH, "high"),
        (Size.BIG, 7),
        (Flags.A, "A"),
        ("plain", "plain"),
        (Text("real"), "real"),
        (True, True),
        (2.5, 2.5),
        (np.float64(2.5), 2.5),
        (["a", Text("b"), Color.RED], ("a", "b", "RED")),
        ((1.5, 2.5), (1.5, 2.5)),
        ([], ()),
    ],
    ids=str,
)
def test_values_with_a_standard_form_leave_in_it(
    give: Callable[[Any], Captured], value: Any, attribute: Any
) -> None:
    found = exported(give(value))
    assert found == attribute
    assert type(found) is type(attribute)


@ways
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ValueError(CANARY), "ValueError"),
        (lambda: KeyError(CANARY), "KeyError"),
        (Order, "Order"),
        (Note, "Note"),
        (Pretender, "Pretender"),
        (Hostile, "Hostile"),
        (Metaclassed, "Metaclassed"),
        (lambda: Order, "ModelMetaclass"),
        (CANARY.encode, "bytes"),
        (lambda: Fraction(1, 3), "Fraction"),
        (lambda: np.int64(5), "int64"),
        (lambda: 10**30, "int"),
        (lambda: Decimal("1" * 1000), "Decimal"),
        (lambda: dt.time(1, tzinfo=BrokenZone()), "time"),
        (lambda: {CANARY: CANARY}, "dict"),
        (lambda: {CANARY}, "set"),
        (lambda: [[CANARY]], "list"),
        (lambda: (Note(), Note()), "tuple"),
        (lambda: [CANARY, {CANARY: 1}], "list"),
        (lambda: Items([Note()]), "Items"),
        (lambda: (text for text in [CANARY]), "generator"),
    ],
    ids=lambda given: given if type(given) is str else "",
)
def test_any_other_value_leaves_as_the_name_of_its_type(
    give: Callable[[Any], Captured], make: Callable[[], Any], name: str
) -> None:
    seen = give(make())
    assert exported(seen) == name
    assert_no_content(seen, CANARY)


@ways
def test_a_type_whose_name_is_a_sentence_leaves_as_its_base(give: Callable[[Any], Captured]) -> None:
    seen = give(type(f"please say {CANARY}", (Note,), {})())
    assert exported(seen) == "Note"
    assert_no_content(seen, CANARY)


@ways
@pytest.mark.parametrize(
    ("value", "canary"),
    [
        (Decimal(4111111111111111), "4111111111111111"),
        (enum.Enum("Made", [("ada@corp.example", 1)])["ada@corp.example"], "ada@corp.example"),
    ],
    ids=["card", "address"],
)
def test_standard_forms_pass_through_the_guard(
    give: Callable[[Any], Captured], value: Any, canary: str
) -> None:
    seen = give(value)
    assert exported(seen).startswith("[")
    assert_no_content(seen, canary)


def test_a_sequence_that_contains_itself_and_one_of_any_length_are_safe() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert exported(given_to_span(loop)) == "list"
    assert len(exported(given_to_span([1] * 1_000_000))) <= 1024


def test_names_codes_and_models_that_are_no_texts_leave_as_the_names_of_their_types() -> None:
    with capture() as seen, span(ValueError(CANARY)):  # type: ignore[arg-type]
        event(KeyError(CANARY))  # type: ignore[arg-type]
        usage(model=Note())  # type: ignore[arg-type]
        fail(RuntimeError(CANARY))  # type: ignore[arg-type]
    work = seen.named("ValueError")
    assert work.events[0].name == "KeyError"
    assert work.attributes["gen_ai.request.model"] == "Note"
    assert work.attributes["error.code"] == "RuntimeError"
    assert_no_content(seen, CANARY)


def test_none_is_no_value() -> None:
    with capture() as seen, span("work", given=None):
        event("happened", given=None)
    work = seen.named("work")
    assert not {"given", "somatrace.guard.removed"} & work.attributes.keys()
    assert not work.events[0].attributes
