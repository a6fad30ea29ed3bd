"""Detection engine: literal anchors, a bounded match around each, a check, and merged hits.

An anchor is a literal in one of a few views of the text that preserve every offset: the text as bytes,
the same in lower case, and two views in which each character is replaced by its class. Finding literals
is fast in Python, so text without anchors costs almost nothing. A detector matches only around anchors,
with bounded quantifiers, and checks the match. The work is therefore at most one bounded match per
anchor: linear in the length of the text, whatever its contents.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

Category = Literal["secrets", "financial", "pii", "customer"]
#: In order of precedence for overlapping hits.
CATEGORIES: Final[tuple[Category, ...]] = ("secrets", "financial", "pii", "customer")
ALL: Final = frozenset(CATEGORIES)

#: The views of a text: its bytes, those in lower case, the shape of digits and letters (0 and A), runs of
#: base64 characters, and the text itself in lower case for non-ASCII words.
ViewName = Literal["raw", "low", "shape", "runs", "wide"]

MAX_HITS: Final = 2000
#: The characters that one search may examine, each time it reads one: the work depends on the text alone.
MAX_EXAMINED: Final = 8_000_000
RUN: Final = 16
#: Appended to a piece of a text that continues; a whitespace character, so it ends words.
GOES_ON: Final = "\v"
DENSE: Final = 12

#: A word boundary; the letter of an escape such as `\n` in JSON is not part of a word.
LEFT: Final = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrtbf]))"
MARKER: Final = r"\[[A-Z][A-Z0-9_]{1,39}(?::[0-9a-z]{5,12})?\]"


class TooManyHitsError(Exception):
    """A text has too many hits to replace one by one; all of it must be removed."""


class TooMuchWorkError(TooManyHitsError):
    """A search has examined MAX_EXAMINED characters; only a shorter text can be searched."""


@dataclass(frozen=True, slots=True)
class DetectedValue:
    """text[start:end] is a `type` of a category. `value` is the decoded value, for pseudonyms."""

    start: int
    end: int
    type: str
    category: Category
    value: str = field(default="", repr=False, compare=False)


class ValueSpan(NamedTuple):
    """Start, end and type of the value at an anchor; `more` holds the other values of a list."""

    start: int
    end: int
    type: str
    more: tuple[ValueSpan, ...] = ()


Locate = Callable[[str, int], ValueSpan | None]
"""Matches around an anchor (text, offset) within bounds independent of the length of the text."""

Search = Callable[[str], Iterable[ValueSpan]]
"""Scans a text once, in linear time, for detectors without anchors."""


@dataclass(frozen=True)
class Detector:
    """Finds values of some types: where to look (literals in one view), and how.

    `types` are the marker names; `about` describes the values and their checks for the documentation.
    A `dense` detector finds values without spaces, at least DENSE characters long and containing the stem:
    if all words are short, its stems are not searched for. `needs` is a text that must occur. `reach` is the
    number of characters counted for one anchor; without anchors, for each character of the text.
    """

    types: tuple[str, ...]
    category: Category
    about: str
    view: ViewName
    stems: tuple[bytes | str, ...]
    locate: Locate = field(repr=False)
    search: Search | None = field(default=None, repr=False)
    dense: bool = False
    needs: str = ""
    reach: int = 128

    @functools.cached_property
    def signs(self) -> bool:
        """Whether no stem has a letter."""
        return not any(b"A" in stem for stem in self.stems if isinstance(stem, bytes))


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern when its first anchor is met: importing the guard compiles nothing."""
    return re.compile(pattern, re.ASCII)


def _class_table(groups: dict[str, str], other: str | None) -> bytes:
    table = bytearray(range(256)) if other is None else bytearray(other.encode() * 256)
    for members, stands_for in groups.items():
        for member in members.encode():
            table[member] = ord(stands_for)
    return bytes(table)


_SHAPE: Final = _class_table({string.digits: "0", string.ascii_letters: "A"}, None)
_DENSE: Final = _class_table({string.ascii_letters + string.digits + "+/=_.~:-": "A"}, " ")
_RUNS: Final = _class_table({string.ascii_letters + string.digits + "+/_-": "A"}, " ")


class Views:
    """The views of one text that detectors use, each created on first use.

    `candidates` counts the anchors examined, `examined` the characters around them.
    """

    __slots__ = ("_dense", "_made", "_signs", "candidates", "examined", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.candidates = 0
        self.examined = len(text)
        # A non-ASCII character becomes one "?", so offsets are preserved.
        self._made: dict[str, bytes | str] = {"raw": text.encode("ascii", "replace")}
        self._dense: bytes | None = None
        self._signs: bytes | None = None

    def __getitem__(self, name: ViewName) -> bytes | str:
        view = self._made.get(name)
        if view is None:
            view = self._made[name] = self._make(name)
        return view

    def _make(self, name: ViewName) -> bytes | str:
        raw = self._made["raw"]
        assert isinstance(raw, bytes)
        match name:
            case "low":
                return raw.lower()
            case "shape":
                return raw.translate(_SHAPE)
            case "runs":
                return raw.translate(_RUNS)
            case _:
                # The capital dotted I is the only letter that becomes longer in lower case.
                return "" if self.text.isascii() else self.text.replace("İ", "i").lower()

    @property
    def dense(self) -> bytes:
        """The long words of the text, concatenated: only they can contain a key."""
        if self._dense is None:
            raw = self._made["raw"]
            assert isinstance(raw, bytes)
            classes, long = raw.translate(_DENSE), b"A" * DENSE
            words, at = [], classes.find(long)
            while at >= 0:
                end = classes.find(b" ", at)
                words.append(raw[at:] if end < 0 else raw[at:end])
                at = classes.find(long, end) if end >= 0 else -1
            if not classes.endswith((b" ", long)):
                words.append(raw[classes.rfind(b" ") + 1 :])  # a key may be truncated there
            self._dense = b" ".join(words)
        return self._dense

    @property
    def signs(self) -> bytes:
        """The shape without letters: it is short, and has each stem without letters that the shape has."""
        if self._signs is None:
            shape = self["shape"]
            assert isinstance(shape, bytes)
            self._signs = shape.translate(None, b"A")
        return self._signs

    def examine(self, characters: int) -> None:
        """Count characters; raises TooMuchWorkError above MAX_EXAMINED."""
        self.examined += characters
        if self.examined > MAX_EXAMINED:
            raise TooMuchWorkError

    def expect(self, detector: Detector, stem: bytes | str) -> None:
        """Raise TooMuchWorkError if all anchors of a stem would take too much, before the work is done."""
        anchors = self.count(detector.view, stem)
        if detector.view == "runs":  # only the first one of each run counts
            anchors = min(anchors, self.count("runs", b" ") + 1)
        if detector.reach * anchors > MAX_EXAMINED - self.examined:
            raise TooMuchWorkError

    def count(self, view: ViewName, stem: bytes | str) -> int:
        """How often a stem occurs in a view."""
        data = self[view]
        return data.count(stem) if isinstance(data, bytes) is isinstance(stem, bytes) else 0  # type: ignore[arg-type]

    def anchors(self, view: ViewName, stem: bytes | str) -> Iterator[int]:
        """The offsets of a stem; only the first within a run."""
        data = self[view]
        if isinstance(data, bytes) is not isinstance(stem, bytes):
            return
        at = data.find(stem)  # type: ignore[arg-type]
        while at >= 0:
            self.candidates += 1
            yield at
            resume = at + len(stem)
            if view == "runs":
                resume = data.find(b" ", resume)  # type: ignore[arg-type]
                if resume < 0:
                    return
            at = data.find(stem, resume)  # type: ignore[arg-type]


def scan(views: Views, detectors: Iterable[Detector]) -> list[DetectedValue]:
    """Every hit of every detector, overlapping ones too. Raises TooManyHitsError above MAX_HITS."""
    hits: list[DetectedValue] = []
    text = views.text
    for detector in detectors:
        for start, end, type_, _ in _found(views, detector):
            hits.append(DetectedValue(start, end, type_, detector.category, text[start:end]))
            if len(hits) > MAX_HITS:
                raise TooManyHitsError
    return hits


def _found(views: Views, detector: Detector) -> Iterator[ValueSpan]:
    text = views.text
    if detector.needs not in text:
        return
    place: bytes | str
    if detector.view == "shape":
        place = views.signs if detector.signs else views["shape"]
    else:
        place = views.dense if detector.dense else views[detector.view]
    for stem in detector.stems:
        if stem not in place:  # type: ignore[operator]  # the common case
            continue
        if detector.reach * (len(text) // len(stem)) > MAX_EXAMINED - views.examined:
            views.expect(detector, stem)
        before = views.candidates
        for at in views.anchors(detector.view, stem):
            found = detector.locate(text, at)
            if found is not None and found.end > found.start:
                yield found
                yield from found.more
        views.examined += detector.reach * (views.candidates - before)
    if detector.search is not None:
        views.examine(detector.reach * len(text))
        yield from detector.search(text)


def merged(hits: Iterable[DetectedValue]) -> list[DetectedValue]:
    """Ordered, disjoint hits: overlapping ones are merged and take the category of higher precedence."""
    joined: list[DetectedValue] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end, CATEGORIES.index(hit.category))):
        if not joined or hit.start >= joined[-1].end:
            joined.append(hit)
            continue
        last = joined[-1]
        if hit.end <= last.end and CATEGORIES.index(hit.category) >= CATEGORIES.index(last.category):
            continue
        graver = min((last, hit), key=lambda one: CATEGORIES.index(one.category))
        joined[-1] = DetectedValue(
            last.start, max(last.end, hit.end), graver.type, graver.category, graver.value
        )
    return joined
