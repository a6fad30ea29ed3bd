"""Numbers of any type given to `usage`: read in bounded time, without code of their classes."""

from __future__ import annotations

import subprocess
import sys
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from somatrace.context.plain_numbers import amount, count, plain_number

HUGE = 10**400_000


class Lying(int):
    """An int whose own methods tell something else."""

    def _lie(self, *_: object) -> Any:
        raise AssertionError

    __int__ = __index__ = __float__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _lie
    __str__ = __repr__ = __format__ = __bool__ = __hash__ = __trunc__ = _lie


class LyingFraction(Fraction):
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


class LyingDecimal(Decimal):
    def __int__(self) -> int:
        raise AssertionError

    __float__ = __str__ = adjusted = is_finite = __int__  # type: ignore[assignment]


class Convertible:
    def __int__(self) -> int:
        raise AssertionError

    __index__ = __float__ = __int__  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        (Lying(7), 7),
        (2.5, 2.5),
        (2**63 - 1, 2**63 - 1),
        (Decimal(12), 12),
        (Decimal("12.5"), 12.5),
        (Decimal(2**63 - 1), 2**63 - 1),
        (Decimal("1e-1000000"), 0),
        (LyingDecimal(3), 3),
        (Fraction(5, 2), 2.5),
        (LyingFraction(5, 2), 2.5),
        (np.int64(4), 4),
        (np.uint8(4), 4),
        (np.float32(0.5), 0.5),
        ("12", 12),
        (" 0.25", 0.25),
    ],
    ids=lambda given: type(given).__name__,
)
def test_numbers_of_any_type_are_read_as_plain_numbers(value: object, number: float) -> None:
    found = plain_number(value)
    assert found == number
    assert type(found) in (int, float)


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.bool_(True),
        float("inf"),
        float("nan"),
        2**63,
        HUGE,
        Lying(HUGE),
        Decimal("1e1000000"),
        Decimal("-1e999999999999999999"),
        Decimal("1" * 1000),
        Decimal("Infinity"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Fraction(HUGE),
        Fraction(1, HUGE),
        np.uint64(2**64 - 1),
        np.float64("inf"),
        np.complex64(1),
        np.datetime64(1, "s"),
        np.array([1]),
        "9" * 33,
        "nan",
        "1e999",
        "many",
        b"12",
        1j,
        None,
        Convertible(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_anything_else_is_no_number(value: object) -> None:
    assert plain_number(value) is None
    assert count(value) is None
    assert amount(value) is None


def test_a_count_has_no_fraction_and_is_not_negative() -> None:
    assert [count(value) for value in (2.9, Decimal("3.9"), -1, 1e300, Fraction(-1, 2))] == [
        2,
        3,
        None,
        None,
        0,
    ]


def test_the_decimal_context_of_the_program_changes_nothing() -> None:
    with localcontext(Context(prec=1, Emax=1, Emin=-1, traps=[*Context().traps])):
        assert plain_number(Decimal("123456.5")) == 123456.5


@pytest.mark.slow
def test_no_number_delays_the_program() -> None:
    program = (
        "from decimal import Decimal\n"
        "from fractions import Fraction\n"
        "from somatrace import event, fail, init_tracing, span, usage\n"
        "from somatrace.config import Config\n"
        "init_tracing('t', config=Config(target='none'))\n"
        "for value in (Decimal('1e100000000'), Decimal('-1e9999999'), Fraction(1 << 10**7, 3), 1 << 10**8):\n"
        "    with span('call', kind='llm', value=value, values=[value]):\n"
        "        usage(input_tokens=value, output_tokens=value, reasoning_tokens=value, cost=value)\n"
        "        event('paid', value=value)\n"
        "        fail('code', retryable=value)\n"
        "print('done')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=True
    )
    assert ran.stdout == "done\n"
