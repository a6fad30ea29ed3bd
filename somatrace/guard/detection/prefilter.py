"""Fast test for texts without any detector's anchor, which most span values are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from somatrace.guard.detection.engine import RUN, Detector, ViewName, Views

#: In characters. In longer texts, searching for the anchors one by one is faster.
SHORT: Final = 96
_OF_SHAPE: Final = {"0": "[0-9]", "A": "[A-Za-z]"}


class Prefilter:
    """Matches the anchors of some detectors with two patterns: anchors with words, and signs and digits.

    Request ids and dates contain signs and digits that are anchors of some detectors, but rarely a word that
    is an anchor of the many others.
    """

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._all = tuple(detectors)
        self._of_runs = tuple(one for one in self._all if one.view == "runs")
        self._wordless = tuple(one for one in self._all if not _has_words(one))
        self._searching = any(one.search is not None for one in self._all)
        self._word = _any_of(one for one in self._all if _has_words(one))
        self._sign = _any_of(one for one in self._wordless if one.view != "runs")

    def among(self, views: Views) -> tuple[Detector, ...]:
        """The detectors that may find something; all of them for texts outside its scope."""
        text = views.text
        if self._searching or len(text) > SHORT or not text.isascii():
            return self._all
        raw = views["raw"]
        if self._word.search(raw) is not None:  # type: ignore[arg-type]  # raw is bytes
            return self._all
        if self._sign.search(raw) is not None:  # type: ignore[arg-type]
            return self._wordless
        return () if len(text) < RUN else tuple([one for one in self._of_runs if one.needs in text])


def _has_words(detector: Detector) -> bool:
    """Whether each anchor contains a letter; views of shapes or runs have only their class letters."""
    if detector.view in ("shape", "runs"):
        return False
    return all(re.search("[A-Za-z]", stem.decode()) for stem in detector.stems if isinstance(stem, bytes))


def _any_of(detectors: Iterable[Detector]) -> re.Pattern[bytes]:
    """A pattern that matches an anchor of any of the detectors."""
    anchors = {
        _pattern(detector.view, stem.decode())
        for detector in detectors
        for stem in detector.stems
        if isinstance(stem, bytes)
    }
    return re.compile((_either(anchors) or "(?!)").encode())


def _pattern(view: ViewName, stem: str) -> tuple[str, ...]:
    """A pattern for the raw text, character by character, where the view has the stem."""
    if view == "shape":
        return tuple(_OF_SHAPE.get(one) or re.escape(one) for one in stem)
    if view == "low":
        return tuple(f"[{one}{one.upper()}]" if one.isalpha() else re.escape(one) for one in stem)
    return tuple(map(re.escape, stem))


def _either(anchors: Iterable[tuple[str, ...]]) -> str:
    """One pattern for all, with common prefixes factored out."""
    after: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in anchors:
        after.setdefault(first, []).append(tuple(rest))
    return "|".join(
        first if () in rests else f"{first}(?:{_either(rests)})" for first, rests in sorted(after.items())
    )


def escaped(text: str) -> bool:
    """Whether a text may contain escapes or look-alike characters."""
    return not text.isascii() or "%" in text or "&" in text or "\\" in text


def bare(views: Views) -> bool:
    """Whether a text has no escapes and no run as long as the base64 to be decoded."""
    if escaped(views.text):
        return False
    return len(views.text) < RUN or b"A" * RUN not in views["runs"]
