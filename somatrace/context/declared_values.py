"""Which attributes of a started span are still the ones that the program declared.

A sampler, and span processors that other libraries add, may write to a span before `span` gets it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def declared_values(names: Iterable[str], given: Mapping[str, Any], attributes: Any) -> dict[str, Any]:
    """The values as the span holds them, of the names under which it holds what was given.

    `attributes` are those of the span, with the length to which the SDK truncates texts.
    """
    held: Mapping[str, Any] = getattr(attributes, "_dict", None) or attributes or {}
    limit = getattr(attributes, "max_value_len", None)
    return {
        name: held[name] for name in names if name in held and _is_stored(given.get(name), held[name], limit)
    }


def _is_stored(given: Any, held: Any, limit: int | None) -> bool:
    """Whether `held` is what the SDK stores for a value of `attribute_value`."""
    kind = type(given)
    if kind is not type(held):
        return False
    if kind is tuple:
        return len(given) == len(held) and all(map(_is_stored, given, held, [limit] * len(held)))
    if kind is str:
        return bool(held == given[:limit])
    return held is given or bool(held == given)
