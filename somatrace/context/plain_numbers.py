"""The plain number for a value of any number type, in bounded time and without code of the value's class.

`int(Decimal("1e1000000"))` takes minutes, and the methods of a subclass can do anything.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from decimal import Context

Number = int | float

#: Integers outside these bounds do not fit an attribute.
BITS: Final = 2**63
#: Significant digits of a `Decimal` that are read: those of the largest integer.
_DIGITS: Final = 19
#: The largest exponent of a float, and a little more.
_EXPONENT: Final = 400
#: Bits of a fraction's parts, far above those of the largest float.
_FRACTION_BITS: Final = 4096
#: Characters of a number in text form, as in the headers of an answer.
_TEXT: Final = 32


def plain_number(value: object) -> Number | None:
    """The number for an int, float, `Decimal`, `Fraction`, numpy scalar, or short text of a number.

    None for booleans, for infinities and NaN, for integers of more than 64 bits, and for all other values.
    """
    kind = type(value)  # `isinstance` would ask the value's own `__class__`
    if issubclass(kind, bool):
        return None
    if issubclass(kind, int):
        return _integer(int.__int__(value))  # type: ignore[arg-type]
    if issubclass(kind, float):
        return _finite(float.__float__(value))  # type: ignore[arg-type]
    if issubclass(kind, str):
        return _of_text(str.__str__(value))
    if (base := _loaded("decimal", "Decimal")) is not None and issubclass(kind, base):
        return _of_decimal(value)
    if (base := _loaded("fractions", "Fraction")) is not None and issubclass(kind, base):
        return _of_fraction(base, value)
    if (base := _loaded("numpy", "generic")) is not None and issubclass(kind, base):
        item = base.item(value)
        return plain_number(item) if type(item) in (int, float) else None
    return None


def count(value: object) -> int | None:
    """A count: a number without its fraction; None if it is negative or no number."""
    number = plain_number(value)
    whole = None if number is None or not -BITS < number < BITS else int(number)
    return whole if whole is not None and whole >= 0 else None


def amount(value: object) -> float | None:
    """A number as a float; None if it is not one."""
    number = plain_number(value)
    return None if number is None else float(number)


def _loaded(module: str, name: str) -> Any:
    """A class of a module; None if it is not loaded, because then it has no values."""
    return getattr(sys.modules.get(module), name, None)


def _integer(number: int) -> int | None:
    return number if -BITS <= number < BITS else None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _of_text(text: str) -> Number | None:
    if len(text) > _TEXT:
        return None
    for convert in (int, float):
        try:
            number: Number = convert(text)
        except ValueError:
            continue
        return plain_number(number)
    return None


def _of_decimal(value: Any) -> Number | None:
    rounded = _rounding().plus(value)
    if not rounded.is_finite():
        return None
    whole = rounded.adjusted() < _DIGITS and rounded == rounded.to_integral_value()
    return _integer(int(rounded)) if whole else _finite(float(rounded))


@functools.cache
def _rounding() -> Context:
    from decimal import ROUND_DOWN, Context  # loaded only if there is a `Decimal`

    return Context(prec=_DIGITS, rounding=ROUND_DOWN, Emin=-_EXPONENT, Emax=_EXPONENT, traps=[])


def _of_fraction(base: Any, value: object) -> Number | None:
    above, below = base._numerator.__get__(value), base._denominator.__get__(value)
    if any(type(part) is not int or part.bit_length() > _FRACTION_BITS for part in (above, below)):
        return None
    try:
        return _finite(above / below)
    except (OverflowError, ZeroDivisionError):  # the parts of a subclass can be anything
        return None
