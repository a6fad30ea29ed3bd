"""Values of any kind as arguments of OpenTelemetry's API: nothing here raises or waits.

The SDK converts values it does not know with `str`, under the lock of the span. Here that happens before,
and a value without a text becomes the name of its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from opentelemetry.trace import Link, SpanContext

from somatrace.runtime.fail_safe import fail_safe, text_of
from somatrace.runtime.type_names import type_name

#: Items of containers of other classes than the built-in ones, which may be endless.
MAX_ITEMS: Final = 4096
_MAX_DEPTH: Final = 16
#: Types whose values the SDK stores without a call to code of the program.
EXACT: Final = frozenset({str, bool, int, float, bytes, type(None)})
_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
}


def safe_value(value: Any, depth: int = 0) -> Any:
    """`value` with plain values, lists and dicts only, as the SDK would convert it."""
    kind = type(value)
    if kind in EXACT:
        return value
    if kind in (list, tuple) and all(type(item) in EXACT for item in value):
        return value
    for base, plain in _PLAIN.items():
        if issubclass(kind, base):
            return plain(value)
    if depth < _MAX_DEPTH:
        with fail_safe("attribute"):
            if issubclass(kind, Mapping):
                return _safe_mapping(value, depth + 1)
            if issubclass(kind, Sequence):
                return [safe_value(item, depth + 1) for item in islice(value, MAX_ITEMS)]
            return text_of(value)
    return type_name(value)


def safe_attributes(attributes: Any) -> Any:
    """A mapping of attributes without what is no attribute; None if it is no mapping."""
    if attributes is None:
        return None
    if type(attributes) is dict and _is_plain(attributes):
        return attributes
    with fail_safe("attributes"):
        if issubclass(type(attributes), Mapping):
            return _safe_mapping(attributes, 0)
    return None


def _is_plain(attributes: dict[Any, Any]) -> bool:
    try:
        for key, value in attributes.items():
            if type(key) is not str or type(value) not in EXACT:
                return False
    except RuntimeError:  # another thread changes it
        return False
    return True


def _safe_mapping(mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    items = islice(dict.items(mapping) if isinstance(mapping, dict) else mapping.items(), MAX_ITEMS)
    return {str.__str__(key): safe_value(value, depth) for key, value in items if issubclass(type(key), str)}


def safe_links(links: Any) -> tuple[Link, ...]:
    """The links among `links`, with safe attributes."""
    if type(links) is tuple and not links:  # most spans
        return ()
    if not isinstance(links, (list, tuple)) and not issubclass(type(links), Iterable):
        return ()
    with fail_safe("links"):
        return tuple(
            Link(link.context, safe_attributes(link.attributes))
            for link in islice(links, MAX_ITEMS)
            if isinstance(link, Link) and isinstance(link.context, SpanContext)
        )
    return ()


def safe_text(text: Any) -> str:
    """The text of a name."""
    return str.__str__(text) if issubclass(type(text), str) else text_of(text)
