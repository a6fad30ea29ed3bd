"""Tells at a glance that a short text holds no anchor of any detector: most values of spans do not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from somatrace.guard.detection.engine import RUN, Detector, ViewName, Views

#: Characters. In longer texts looking for one anchor after the other is faster.
SHORT: Final = 96
_OF_SHAPE: Final = {"0": "[0-9]", "A": "[A-Za-z]"}


class Prefilter:
    """Knows the anchors of some detectors as two patterns: those with words in them, and signs and digits.

    Ids of requests and dates hold signs and digits that some detectors look at, and seldom a word of the many
    others.
    """

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._all = tuple(detectors)
        self._of_runs = tuple(one for one in self._all if one.view == "runs")
        self._wordless = tuple(one for one in self._all if not _has_words(one))
        self._searching = any(one.search is not None for one in self._all)
        self._word = _any_of(one for one in self._all if _has_words(one))
        self._sign = _any_of(one for one in self._wordless if one.view != "runs")

    def among(self, views: Views) -> tuple[Detector, ...]:
        """The detectors that may have something to look at; all of them for texts it does not judge."""
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
    """Whether a letter stands in each anchor; a view of shapes or runs has none but those of the classes."""
    if detector.view in ("shape", "runs"):
        return False
    return all(re.search("[A-Za-z]", stem.decode()) for stem in detector.stems if isinstance(stem, bytes))


def _any_of(detectors: Iterable[Detector]) -> re.Pattern[bytes]:
    """A pattern that finds an anchor of any of the detectors."""
    anchors = {
        _pattern(detector.view, stem.decode())
        for detector in detectors
        for stem in detector.stems
        if isinstance(stem, bytes)
    }
    return re.compile((_either(anchors) or "(?!)").encode())


def _pattern(view: ViewName, stem: str) -> tuple[str, ...]:
    """What the raw text has, character by character, where the view has the stem."""
    if view == "shape":
        return tuple(_OF_SHAPE.get(one) or re.escape(one) for one in stem)
    if view == "low":
        return tuple(f"[{one}{one.upper()}]" if one.isalpha() else re.escape(one) for one in stem)
    return tuple(map(re.escape, stem))


def _either(anchors: Iterable[tuple[str, ...]]) -> str:
    """One pattern for all, in which what several begin with stands once."""
    after: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in anchors:
        after.setdefault(first, []).append(tuple(rest))
    return "|".join(
        first if () in rests else f"{first}(?:{_either(rests)})" for first, rests in sorted(after.items())
    )


def escaped(text: str) -> bool:
    """Whether a text may read differently than it is written: escapes, characters that look like others."""
    return not text.isascii() or "%" in text or "&" in text or "\\" in text


def bare(views: Views) -> bool:
    """Whether a text has no escapes in it, and nothing as long as the base64 that is looked for."""
    if escaped(views.text):
        return False
    return len(views.text) < RUN or b"A" * RUN not in views["runs"]
