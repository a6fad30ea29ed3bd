"""The few headers we read, out of whatever shape a framework hands them over in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from somatrace import semconv
from somatrace.propagation.tag_header import MAX_HEADER
from somatrace.propagation.trust import ignore
from somatrace.propagation.trusted_networks import forwards

HEADER_BAGGAGE: Final = "baggage"
#: Header -> the most characters of it that are read. Limits: W3C Trace Context 3.3.1.5, W3C Baggage 3.3.2.
_LIMITS: Final = {
    semconv.HEADER_TRACEPARENT: 256,
    semconv.HEADER_TRACESTATE: 512,
    HEADER_BAGGAGE: 8192,
    semconv.HEADER_TAGS: MAX_HEADER,
    semconv.HEADER_CORRELATION: 64,
    semconv.HEADER_REQUEST: 64,
}
#: W3C Trace Context 3.3.1.1. OpenTelemetry drops a longer list as well, with a warning for each request.
_MAX_STATES: Final = 32
_LISTS: Final = frozenset({semconv.HEADER_TRACESTATE, HEADER_BAGGAGE})
_IDENTIFIERS: Final = frozenset({semconv.HEADER_CORRELATION, semconv.HEADER_REQUEST})
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VISIBLE = re.compile(r"[\t\x20-\x7e]*")


class RequestHeaders:
    """What a request's headers say to us: each at most once, bounded, visible ASCII.

    A header that comes twice (and may not), is too long or has other characters is left aside, and
    counted. `forwarded` says that a proxy's header was among them.
    """

    def __init__(self, headers: object) -> None:
        self.forwarded = False
        self._found: dict[str, str] = {}
        spoilt: set[str] = set()
        for name, value in _pairs(headers):
            if forwards(name):
                self.forwarded = True
            elif name in _LIMITS and name not in spoilt and not self._take(name, value):
                spoilt.add(name)
                self._found.pop(name, None)

    def __getitem__(self, name: str) -> str:
        return self._found.get(name, "")

    @property
    def found(self) -> Mapping[str, str]:
        return self._found

    def _take(self, name: str, value: str) -> bool:
        if name in self._found:
            if name not in _LISTS:
                ignore(f"{name}: more than once")
                return False
            value = f"{self._found[name]},{value}"
        many = name == semconv.HEADER_TRACESTATE and value.count(",") >= _MAX_STATES
        if many or len(value) > _LIMITS[name]:
            ignore(f"{name}: too long")
            return False
        if (_IDENTIFIER if name in _IDENTIFIERS else _VISIBLE).fullmatch(value) is None:
            ignore(f"{name}: malformed")
            return False
        self._found[name] = value
        return True


def _pairs(headers: object) -> Iterator[tuple[str, str]]:
    """Names in lower case and values, from a mapping, a multi-mapping or pairs, of text or bytes."""
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
        listed = getattr(headers, method, None)
        if callable(listed):
            return listed()  # type: ignore[no-any-return]
    return headers if isinstance(headers, Iterable) else ()


def _text(word: str | bytes) -> str:
    return word if isinstance(word, str) else word.decode("latin-1")
