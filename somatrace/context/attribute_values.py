"""Convert any value that the program passes to `span`, `event`, `usage` or `fail` to an attribute value.

The SDK calls `str` on a value it does not know: the text of an exception, a data class or a model is
content. So such a value becomes the name of its type. Nothing here raises or runs code of the value's
class, except the time zone of a `datetime` or `time`.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from somatrace.context.plain_numbers import BITS
from somatrace.runtime.fail_safe import fail_safe
from somatrace.runtime.type_names import type_name

Scalar = str | bool | int | float
AttributeValue = Scalar | tuple[Scalar, ...]

#: Items of a sequence that are kept.
MAX_ITEMS: Final = 1024
_EXACT: Final = frozenset({str, bool, int, float})
#: Characters of a standard form: a `Decimal` can have millions of digits.
_MAX_FORM: Final = 128
#: Classes with a standard text form: module, class and method. A module that is not loaded has no values.
_STANDARD_FORMS: Final = (
    ("uuid", "UUID", "__str__"),
    ("datetime", "datetime", "isoformat"),
    ("datetime", "date", "isoformat"),
    ("datetime", "time", "isoformat"),
    ("decimal", "Decimal", "__str__"),
)


def attribute_value(value: Any) -> AttributeValue:
    """A string, number or boolean, a tuple of these, a standard form, or the name of the value's type.

    Subclasses become the plain value. `UUID`, dates, times and `Decimal` become their standard text, members
    of an `Enum` their name. Lists and tuples are kept if each item is one of these.
    """
    with fail_safe("attribute"):
        if issubclass(type(value), (list, tuple)):
            kind = list if issubclass(type(value), list) else tuple
            items = [_scalar(item) for item in kind.__getitem__(value, slice(MAX_ITEMS))]
            if not any(item is None for item in items):
                return tuple(item for item in items if item is not None)
        else:
            found = _scalar(value)
            if found is not None:
                return found
    return type_name(value)


def attribute_text(value: Any) -> str:
    """The text for a name or code: a string as it is, anything else by its attribute value."""
    return value if type(value) is str else str(attribute_value(value))


def _scalar(value: Any) -> Scalar | None:
    """The plain string, number or boolean for a value; None for a value without one."""
    kind = type(value)  # `isinstance` would ask the value's own `__class__`
    if kind in _EXACT and kind is not int:
        return value  # type: ignore[no-any-return]
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        number = int.__int__(value)
        return number if -BITS <= number < BITS else None
    if issubclass(kind, float):
        return float.__float__(value)
    return _standard_form(value, kind)


def _standard_form(value: Any, kind: type) -> str | None:
    for module, name, method in _STANDARD_FORMS:
        base = getattr(sys.modules.get(module), name, None)
        if base is not None and issubclass(kind, base):
            return _exact(getattr(base, method)(value))
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(kind, enum.Enum):
        return _exact(object.__getattribute__(value, "_name_"))
    return None


def _exact(text: object) -> str | None:
    exact = str.__str__(text) if issubclass(type(text), str) else ""
    return exact if 0 < len(exact) <= _MAX_FORM else None
