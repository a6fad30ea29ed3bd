"""Read the supported headers of a request, from any framework's representation of headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from somatrace import semconv
from somatrace.propagation.tag_header import MAX_HEADER
from somatrace.propagation.trust import ignore
from somatrace.propagation.trusted_networks import forwards

HEADER_BAGGAGE: Final = "baggage"
#: Header -> maximum length. Limits: W3C Trace Context 3.3.1.5, W3C Baggage 3.3.2.
_LIMITS: Final = {
    semconv.HEADER_TRACEPARENT: 256,
    semconv.HEADER_TRACESTATE: 512,
    HEADER_BAGGAGE: 8192,
    semconv.HEADER_TAGS: MAX_HEADER,
    semconv.HEADER_CORRELATION: 64,
    semconv.HEADER_REQUEST: 64,
}
#: W3C Trace Context 3.3.1.1. OpenTelemetry also drops a longer list, with a warning per request.
_MAX_STATES: Final = 32
_LISTS: Final = frozenset({semconv.HEADER_TRACESTATE, HEADER_BAGGAGE})
_IDENTIFIERS: Final = frozenset({semconv.HEADER_CORRELATION, semconv.HEADER_REQUEST})
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VISIBLE = re.compile(r"[\t\x20-\x7e]*")


class RequestHeaders:
    """The supported headers of a request: each at most once, bounded, visible ASCII.

    A header that is repeated (and must not be), too long or has other characters is ignored and counted.
    `forwarded` is True if a proxy's header was among them. `ids` holds every correlation and request id, also
    repeated ones.
    """

    def __init__(self, headers: object) -> None:
        self.forwarded = False
        self.ids: set[tuple[str, str]] = set()
        self._values: dict[str, str] = {}
        rejected: set[str] = set()
        for name, value in _pairs(headers):
            if forwards(name):
                self.forwarded = True
                continue
            if name in _IDENTIFIERS and _IDENTIFIER.fullmatch(value):
                self.ids.add((name, value))
            if name in _LIMITS and name not in rejected and not self._take(name, value):
                rejected.add(name)
                self._values.pop(name, None)

    def __getitem__(self, name: str) -> str:
        return self._values.get(name, "")

    @property
    def values(self) -> Mapping[str, str]:
        return self._values

    def _take(self, name: str, value: str) -> bool:
        if name in self._values:
            if name not in _LISTS:
                ignore(f"{name}: more than once")
                return False
            value = f"{self._values[name]},{value}"
        too_many = name == semconv.HEADER_TRACESTATE and value.count(",") >= _MAX_STATES
        if too_many or len(value) > _LIMITS[name]:
            ignore(f"{name}: too long")
            return False
        if (_IDENTIFIER if name in _IDENTIFIERS else _VISIBLE).fullmatch(value) is None:
            ignore(f"{name}: malformed")
            return False
        self._values[name] = value
        return True


def _pairs(headers: object) -> Iterator[tuple[str, str]]:
    """Lower-case names and values, from a mapping, a multi-mapping or pairs, of text or bytes."""
    for entry in _entries(headers):
        try:
            name, values = entry
        except (TypeError, ValueError):
            continue
        for value in values if isinstance(values, (list, tuple)) else (values,):
            if isinstance(name, (str, bytes)) and isinstance(value, (str, bytes)):
                yield _text(name).strip().lower(), _text(value).strip(" \t")


def _entries(headers: object) -> Iterable[tuple[object, object]]:
    for method in ("multi_items", "items"):
        list_items = getattr(headers, method, None)
        if callable(list_items):
            return list_items()  # type: ignore[no-any-return]
    return headers if isinstance(headers, Iterable) else ()


def _text(word: str | bytes) -> str:
    # of a subclass too, which may override comparison and hashing
    return str.__str__(word) if isinstance(word, str) else bytes.decode(word, "latin-1")
