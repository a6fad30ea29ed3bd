"""Tells at a glance that a short text holds no anchor of any detector: most values of spans do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from somatrace.guard.detecting import RUN, Detector, Views

#: Characters. In longer texts looking for one anchor after the other is faster.
SHORT: Final = 64
_HEAD: Final = 3


class Gate:
    """Knows the anchors of some detectors by their first three characters."""

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._all = tuple(detectors)
        self._of_runs = tuple(one for one in self._all if one.view == "runs")
        stems: dict[str, set[bytes]] = {"raw": set(), "low": set(), "shape": set()}
        self._searching = False
        for detector in self._all:
            self._searching = self._searching or detector.search is not None
            if detector.view in stems:
                stems[detector.view].update(stem for stem in detector.stems if isinstance(stem, bytes))
        self._brief = tuple(stem for stem in stems["raw"] if len(stem) < _HEAD)
        self._heads = frozenset(stem[:_HEAD] for stem in stems["raw"] if len(stem) >= _HEAD)
        self._brief_low = tuple(stem for stem in stems["low"] if len(stem) < _HEAD)
        self._heads_low = frozenset(stem[:_HEAD] for stem in stems["low"] if len(stem) >= _HEAD)
        self._shapes = tuple(stems["shape"])

    def among(self, views: Views) -> tuple[Detector, ...]:
        """The detectors that may have something to look at; all of them for texts it does not judge."""
        return self._of_runs if self._shut(views) else self._all

    def _shut(self, views: Views) -> bool:
        text = views.text
        if self._searching or len(text) > SHORT or not text.isascii():
            return False
        raw, low, shape = text.encode(), text.lower().encode(), views["shape"]
        at = range(len(raw) - _HEAD + 1)
        if not self._heads.isdisjoint([raw[i : i + _HEAD] for i in at]):
            return False
        if not self._heads_low.isdisjoint([low[i : i + _HEAD] for i in at]):
            return False
        for stems, view in ((self._brief, raw), (self._brief_low, low), (self._shapes, shape)):
            for stem in stems:
                if stem in view:
                    return False
        return True


def bare(views: Views) -> bool:
    """Whether a text has no escapes in it, and nothing as long as the base64 that is looked for."""
    text = views.text
    if not text.isascii() or "%" in text or "&" in text or "\\" in text:
        return False
    return len(text) < RUN or b"A" * RUN not in views["runs"]
