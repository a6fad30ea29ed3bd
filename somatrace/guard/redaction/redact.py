"""Redact a text: replace every detected value with a typed marker and keep the rest unchanged.

    >>> redact_text("mail ada@example.com")
    'mail [EMAIL]'

The result is bounded, deterministic and idempotent: redacting it again changes nothing. JSON stays JSON.
If redaction fails, the original is never returned.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from somatrace.guard.detection.engine import (
    ALL,
    GOES_ON,
    MAX_EXAMINED,
    Category,
    DetectedValue,
    Detector,
    TooManyHitsError,
    TooMuchWorkError,
    Views,
    compiled,
    merged,
    scan,
)
from somatrace.guard.detection.prefilter import Prefilter, bare, escaped
from somatrace.guard.redaction.markers import Pseudonymise, replaced, settled
from somatrace.guard.redaction.work import count

if TYPE_CHECKING:
    from somatrace.guard.detection.decoded_views import DecodedView, Token

log = logging.getLogger("somatrace")

#: Characters. A longer text keeps its beginning and its end.
MAX_LENGTH: Final = 256 * 1024
_KEPT: Final = 96 * 1024
#: Scanned beyond the cut, as far as the longest value (a private key), so that no value is halved.
_OVERLAP: Final = 16 * 1024
#: A cut moves at most this far to fall between words.
_NEAR: Final = 512
#: How often a text is cut: markers may be longer than the values they replace.
_CUTS: Final = 3
#: How often a text that takes too much work is halved.
_HALVES: Final = 6
#: Passes until nothing more is found: text next to a marker may be read differently.
_PASSES: Final = 4

ERROR: Final = "[REDACTED:error]"
OVERFLOW: Final = "[REDACTED:overflow]"


@functools.cache
def detectors(categories: frozenset[Category] = ALL) -> tuple[Detector, ...]:
    """The built-in detectors of some categories, loaded on first use."""
    from somatrace.guard.detection.detectors.credentials import CARRIED
    from somatrace.guard.detection.detectors.financial import FINANCIAL
    from somatrace.guard.detection.detectors.named_values import NAMED
    from somatrace.guard.detection.detectors.pii import PII
    from somatrace.guard.detection.detectors.provider_keys import PREFIXED

    return tuple(one for one in (*PREFIXED, *NAMED, *CARRIED, *FINANCIAL, *PII) if one.category in categories)


_gates: dict[int, tuple[tuple[Detector, ...], Prefilter]] = {}


def _gate(table: tuple[Detector, ...]) -> Prefilter:
    """The prefilter for a table of detectors: there are few, each created once and compared by identity."""
    known = _gates.get(id(table))
    if known is None or known[0] is not table:
        known = _gates[id(table)] = (table, Prefilter(table))
    return known[1]


def find(text: str, categories: Collection[str] = ALL, extra: Sequence[Detector] = ()) -> list[DetectedValue]:
    """The values in `text`, in order, none overlapping another. `extra` detectors always run.

    Raises ValueError for an unknown category, TooManyHitsError above MAX_HITS, and its subclass
    TooMuchWorkError above MAX_EXAMINED.
    """
    wanted = _known(categories)
    views = Views(text)
    table = detectors(wanted)
    among, plain = _gate(table).among(views), bare(views)
    if plain and not among and not extra:
        return []  # most values of spans: they contain no anchor
    try:
        hits = scan(views, (*among, *extra))
        if not plain:
            hits += _decoded_hits(views, (*table, *extra))
    finally:
        count(views.examined)
    if not hits:
        return hits
    return [one for hit in merged(hits) if (one := settled(text, hit)) is not None]


def redact_text(
    text: str,
    *,
    categories: Collection[str] = ALL,
    pseudonym: Pseudonymise | None = None,
    extra: Sequence[Detector] = (),
) -> str:
    """`text` with every value of `categories` (secrets, financial, pii, customer) replaced by a marker.

    `pseudonym` adds a pseudonym of the value, as in `[EMAIL:1a2b3c4d]`; secrets never get one. `extra` are
    custom detectors (`somatrace.guard.terms`). Never raises for a text: a text whose redaction failed becomes
    `[REDACTED:error]`, one with more than 2000 values `[REDACTED:overflow]`. A text whose search would take
    too much work keeps its beginning.
    """
    wanted = _known(categories)
    try:
        try:
            return _within_length(text, wanted, pseudonym, extra)
        except TooMuchWorkError:
            return _within_work(text, wanted, pseudonym, extra)
    except TooManyHitsError:
        return OVERFLOW
    except Exception as error:  # fail closed: return no part of the original
        log.debug("redaction failed: %s", type(error).__name__)
        return ERROR


def _known(categories: Collection[str]) -> frozenset[Category]:
    wanted = frozenset((categories,) if isinstance(categories, str) else categories)
    if not wanted <= ALL:
        raise ValueError(f"unknown category {min(wanted - ALL)!r}: use {', '.join(sorted(ALL))}")
    return wanted  # type: ignore[return-value]


def _within_length(
    text: str, wanted: frozenset[Category], pseudonym: Pseudonymise | None, extra: Sequence[Detector]
) -> str:
    clean = text
    for _ in range(_CUTS):
        if len(clean) > MAX_LENGTH:
            clean = _shortened(clean, wanted, pseudonym, extra, len(text))
        clean = _redacted(clean, wanted, pseudonym, extra)
        if len(clean) <= MAX_LENGTH:
            return clean
    raise TooManyHitsError


def _redacted(
    text: str, wanted: frozenset[Category], pseudonym: Pseudonymise | None, extra: Sequence[Detector]
) -> str:
    for _ in range(_PASSES):
        hits = find(text, wanted, extra)
        if not hits:
            return text
        text = replaced(text, hits, pseudonym)
    if find(text, wanted, extra):
        raise TooManyHitsError
    return text


def _decoded_hits(views: Views, table: Sequence[Detector]) -> list[DetectedValue]:
    from somatrace.guard.detection.decoded_views import FURTHER, base64_texts, decoded, decoded_views

    hits: list[DetectedValue] = []
    for around in decoded_views(views.text) if escaped(views.text) else ():
        view = around
        found = _scanned(views, view, table)
        if any(hit.end >= len(view.text) for hit in found) and view.offsets[-1] < len(views.text):
            # The value continues beyond the view: follow it.
            view = decoded(views.text, view.offsets[0], min(len(views.text), view.offsets[-1] + FURTHER))
            found = _scanned(views, view, table)
        for hit in found:
            start, end = view.original(hit.start, min(hit.end, len(view.text)))
            hits.append(DetectedValue(start, end, hit.type, hit.category, hit.value))
    for token in base64_texts(views):
        found = merged(_scanned(views, token, table))
        if found:  # replace the whole token, named after the first value in it
            hits.append(DetectedValue(token.start, token.end, found[0].type, found[0].category, token.text))
    return hits


def _scanned(views: Views, decoded: DecodedView | Token, table: Sequence[Detector]) -> list[DetectedValue]:
    inner = Views(decoded.text + ("" if decoded.ends(views.text) else GOES_ON))
    inner.examined += views.examined
    try:
        return scan(inner, table)
    finally:
        views.candidates += inner.candidates
        views.examined = inner.examined


def candidates(text: str) -> int:
    """The number of anchors examined in `text`: the work of detection, in steps of bounded size."""
    views = Views(text)
    try:
        scan(views, detectors())
        _decoded_hits(views, detectors())
    except TooManyHitsError:
        pass
    return views.candidates


# -- cutting ------------------------------------------------------------------------------------------------


def _shortened(
    text: str,
    wanted: frozenset[Category],
    pseudonym: Pseudonymise | None,
    extra: Sequence[Detector],
    length: int,
) -> str:
    """The beginning and the end of a text of originally `length` characters, with their values replaced.

    Both are scanned together with the text beyond the cut, so that no halved value goes undetected. The cuts
    are positions in the original text, so shorter markers never let text from near an edge through.
    """
    head, tail = text[: _KEPT + _OVERLAP], text[-_KEPT - _OVERLAP :]
    first, last = find(head, wanted, extra), find(tail, wanted, extra)
    stop, start = _head_end(head, _KEPT, first), _tail_start(tail, last)
    beginning = replaced(head, [hit for hit in first if hit.end <= stop], pseudonym, 0, stop)
    end = replaced(tail, [hit for hit in last if hit.start >= start], pseudonym, start)
    return f"{beginning} [TRUNCATED {max(0, length - stop - len(tail) + start)}] {end}"


def _within_work(
    text: str, wanted: frozenset[Category], pseudonym: Pseudonymise | None, extra: Sequence[Detector]
) -> str:
    """The beginning of a text, as far as it can be searched, and the number of characters removed."""
    length = _searchable(text, (*detectors(wanted), *extra))
    for _ in range(_HALVES):
        head, kept = text[:length], length - min(_OVERLAP, length // 4)
        try:
            hits = find(head, wanted, extra)
            stop = _head_end(head, kept, hits)
            beginning = replaced(head, [hit for hit in hits if hit.end <= stop], pseudonym, 0, stop)
            return _redacted(f"{beginning} [TRUNCATED {len(text) - stop}]", wanted, pseudonym, extra)
        except TooMuchWorkError:
            length //= 2
    raise TooManyHitsError


def _searchable(text: str, table: Sequence[Detector]) -> int:
    """How many characters of a text can be searched, estimated from its anchors; at most half of it."""
    text = text[:MAX_LENGTH]
    views, total = Views(text), 1
    for one in table:
        anchors = sum(views.count(one.view, stem) for stem in one.stems)
        total += one.reach * (anchors + (len(text) if one.search is not None else 0))
    return min(len(text) // 2, len(text) * (MAX_EXAMINED // 2) // total)


def _head_end(text: str, kept: int, hits: Sequence[DetectedValue]) -> int:
    """The end of the kept beginning: between words if possible, never within a value."""
    near = max(0, kept - _NEAR)
    space = max(text.rfind(" ", near, kept), text.rfind("\n", near, kept))
    stop = space if space > 0 else kept
    return next((hit.start for hit in hits if hit.start < stop < hit.end), stop)


def _tail_start(text: str, hits: Sequence[DetectedValue]) -> int:
    """The start of the kept end: neither within a value nor within a word that began before the edge."""
    spaces = [at for at in (text.find(one, _OVERLAP, _OVERLAP + _NEAR) for one in " \n") if at >= 0]
    start = min(spaces) + 1 if spaces else _OVERLAP
    if (word := compiled(r"[\w+/=.~:-]*+").match(text)) is not None and word.end() >= start:
        start = word.end()
    return next((hit.end for hit in hits if hit.start < start < hit.end), start)
