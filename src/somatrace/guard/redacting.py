"""Redaction of a text: every found value becomes a typed marker, the rest stays as it is.

    >>> redact_text("mail ada@example.com")
    'mail [EMAIL]'

The result is bounded, the same for the same text, and stable: redacting it again changes nothing. JSON
stays JSON. Whatever goes wrong inside, the original is never returned.
"""

from __future__ import annotations

import bisect
import functools
import logging
import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

from somatrace.guard.detecting import (
    ALL,
    MARKER,
    Category,
    Detector,
    Hit,
    TooManyHitsError,
    Views,
    compiled,
    merged,
    scan,
)
from somatrace.guard.gate import Gate, bare, escaped

if TYPE_CHECKING:
    from somatrace.guard.decoding import Token, View

log = logging.getLogger("somatrace")

#: Characters. A longer text keeps its beginning and its end.
MAX_LENGTH: Final = 256 * 1024
_KEPT: Final = 96 * 1024
#: Redacted beyond the cut as well, so that a value is not halved by it and missed.
_OVERLAP: Final = 4096
#: Passes until nothing more is found: what a marker stands beside may read differently.
_PASSES: Final = 4

ERROR: Final = "[REDACTED:error]"
OVERFLOW: Final = "[REDACTED:overflow]"

Pseudonymise = Callable[[str, str], str]
"""Makes of (type, value) the few characters that stand for the value."""


@functools.cache
def detectors(categories: frozenset[Category] = ALL) -> tuple[Detector, ...]:
    """The built-in detectors of some categories. Loaded when first asked for."""
    from somatrace.guard.carriers import CARRIED
    from somatrace.guard.named import NAMED
    from somatrace.guard.pii import FINANCIAL, PII
    from somatrace.guard.secrets import PREFIXED

    return tuple(one for one in (*PREFIXED, *NAMED, *CARRIED, *FINANCIAL, *PII) if one.category in categories)


_gates: dict[int, tuple[tuple[Detector, ...], Gate]] = {}


def _gate(table: tuple[Detector, ...]) -> Gate:
    """The gate before a table of detectors: there are few, each made once, so identity tells them apart."""
    known = _gates.get(id(table))
    if known is None or known[0] is not table:
        known = _gates[id(table)] = (table, Gate(table))
    return known[1]


def find(text: str, categories: Collection[str] = ALL, extra: Sequence[Detector] = ()) -> list[Hit]:
    """The values in `text`, in order, none overlapping another. `extra` detectors are always asked.

    Raises ValueError for an unknown category and TooManyHitsError above MAX_HITS.
    """
    wanted = _known(categories)
    views = Views(text)
    table = detectors(wanted)
    among, plain = _gate(table).among(views), bare(views)
    if plain and not among and not extra:
        return []  # most values of spans: nothing in them begins anything
    hits = scan(views, (*among, *extra))
    if not plain:
        hits += _decoded_hits(views, (*table, *extra))
    if not hits:
        return hits
    return [one for hit in merged(hits) if (one := _settled(text, hit)) is not None]


def redact_text(
    text: str,
    *,
    categories: Collection[str] = ALL,
    pseudonym: Pseudonymise | None = None,
    extra: Sequence[Detector] = (),
) -> str:
    """`text` with every value of `categories` (secrets, financial, pii, customer) replaced by a marker.

    `pseudonym` adds what stands for the value, `[EMAIL:1a2b3c4d]`; secrets never get one. `extra`
    are detectors of your own (`somatrace.guard.terms`). Never raises for a text: `[REDACTED:error]` takes the
    place of one that could not be judged, `[REDACTED:overflow]` of one with more than 2000 values.
    """
    wanted = _known(categories)
    try:
        if len(text) <= MAX_LENGTH:
            clean = _redacted(text, wanted, pseudonym, extra)
            if len(clean) <= MAX_LENGTH:
                return clean
            return _cut(clean, clean, len(clean))
        head = _redacted(text[: _KEPT + _OVERLAP], wanted, pseudonym, extra)
        tail = _redacted(text[-_KEPT - _OVERLAP :], wanted, pseudonym, extra)
        return _cut(head, tail, len(text))
    except TooManyHitsError:
        return OVERFLOW
    except Exception as error:  # closed on failure: no part of the original
        log.debug("redaction failed: %s", type(error).__name__)
        return ERROR


def _known(categories: Collection[str]) -> frozenset[Category]:
    wanted = frozenset((categories,) if isinstance(categories, str) else categories)
    if not wanted <= ALL:
        raise ValueError(f"unknown category {min(wanted - ALL)!r}: use {', '.join(sorted(ALL))}")
    return wanted  # type: ignore[return-value]


def _redacted(
    text: str, wanted: frozenset[Category], pseudonym: Pseudonymise | None, extra: Sequence[Detector]
) -> str:
    for _ in range(_PASSES):
        hits = find(text, wanted, extra)
        if not hits:
            return text
        text = _replaced(text, hits, pseudonym)
    if find(text, wanted, extra):
        raise TooManyHitsError
    return text


def _decoded_hits(views: Views, table: Sequence[Detector]) -> list[Hit]:
    from somatrace.guard.decoding import FURTHER, base64_texts, decoded, decoded_views

    hits: list[Hit] = []
    for around in decoded_views(views.text) if escaped(views.text) else ():
        view = around
        found = _scanned(views, view, table)
        if any(hit.end == len(view.text) for hit in found) and view.offsets[-1] < len(views.text):
            # A value goes on beyond the view: follow it.
            view = decoded(views.text, view.offsets[0], min(len(views.text), view.offsets[-1] + FURTHER))
            found = _scanned(views, view, table)
        for hit in found:
            start, end = view.original(hit.start, hit.end)
            hits.append(Hit(start, end, hit.type, hit.category, hit.value))
    for token in base64_texts(views):
        found = merged(_scanned(views, token, table))
        if found:  # the token as a whole, named after the first it holds
            hits.append(Hit(token.start, token.end, found[0].type, found[0].category, token.text))
    return hits


def _scanned(views: Views, decoded: View | Token, table: Sequence[Detector]) -> list[Hit]:
    inner = Views(decoded.text)
    hits = scan(inner, table)
    views.candidates += inner.candidates
    return hits


def candidates(text: str) -> int:
    """How many anchors are looked at in `text`: the work that finding takes, in looks of bounded size."""
    views = Views(text)
    try:
        scan(views, detectors())
        _decoded_hits(views, detectors())
    except TooManyHitsError:
        pass
    return views.candidates


# -- replacing --------------------------------------------------------------------------------------------


def _settled(text: str, hit: Hit) -> Hit | None:
    """The hit without half an escape at either end: escapes stay whole, so JSON stays JSON."""
    start, end = hit.start, hit.end
    if start > 0 and text[start - 1] == "\\":
        escape = compiled(r"u[0-9A-Fa-f]{4}|[nrtbf/\"](?=.)").match(text, start, end)
        start = escape.end() if escape else start
    while end > start and text[end - 1] == "\\":
        end -= 1
    if end <= start or compiled(rf"(?:{MARKER}[\s\\,;.:]*+)++").fullmatch(text, start, end):
        return None  # what has been replaced already
    return hit if (start, end) == (hit.start, hit.end) else Hit(start, end, hit.type, hit.category, hit.value)


def _replaced(text: str, hits: Sequence[Hit], pseudonym: Pseudonymise | None) -> str:
    bare = _Numbers(text)
    pieces: list[str] = []
    done = 0
    for hit in hits:
        start, end, quote = bare.extent(hit)
        if start < done:
            start, quote = done, ""
        if pseudonym is not None and hit.category != "secrets":
            marker = f"[{hit.type}:{pseudonym(hit.type, hit.value)}]"
        else:
            marker = f"[{hit.type}]"
        pieces += (text[done:start], quote, marker, quote)
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


class _Numbers:
    """Numbers that are JSON values: their marker needs quotes, else the text would no longer be JSON."""

    def __init__(self, text: str) -> None:
        self._text = text

    def extent(self, hit: Hit) -> tuple[int, int, str]:
        """Where the number begins and ends, and the quotes its marker needs."""
        text, start, end = self._text, hit.start, hit.end
        if not compiled(r"[0-9.eE+-]+").fullmatch(text, start, end):
            return start, end, ""
        number = compiled(r"[0-9.eE+-]{0,40}").match(text, end)
        last = number.end() if number else end
        while start > 0 and text[start - 1] in "0123456789.+-":
            start -= 1
        if not compiled(r"\s{0,40}(?:[,}\]]|\\[nrt]|$)").match(text, last):
            return hit.start, hit.end, ""
        before = text[max(0, start - 48) : start].rstrip()
        key = compiled(r"(?s).*?(\\{0,15}\")\s{0,8}:$").fullmatch(before)
        if key is not None and (key[1] != '"' or not self._json or not self._inside_string(start)):
            return start, last, key[1]
        if before[-1:] in ("[", ",") and self._json and not self._inside_string(start):
            return start, last, '"'
        return hit.start, hit.end, ""

    def _inside_string(self, at: int) -> bool:
        return bisect.bisect_right(self._quotes, at) % 2 == 1

    @functools.cached_property
    def _json(self) -> bool:
        return self._text.lstrip()[:1] in ("{", "[")

    @functools.cached_property
    def _quotes(self) -> list[int]:
        """Where strings open and close, if the text is JSON."""
        return [match.start() for match in re.finditer(r'\\.|"', self._text, re.DOTALL) if match[0] == '"']


# -- cutting ------------------------------------------------------------------------------------------------


def _cut(head: str, tail: str, length: int) -> str:
    """The beginning and the end of an already redacted text of `length` characters, cut between words."""
    first, last = head[:_KEPT], tail[-_KEPT:]
    if (space := max(first.rfind(" ", _KEPT - 512), first.rfind("\n", _KEPT - 512))) > 0:
        first = first[:space]
    spaces = [at for at in (last.find(" ", 0, 512), last.find("\n", 0, 512)) if at >= 0]
    if spaces:
        last = last[min(spaces) + 1 :]
    return f"{first} [TRUNCATED {max(0, length - len(first) - len(last))}] {last}"
