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
        stems: dict[str, set[bytes]] = {"raw": set(), "low": set(), "shape": set(), "runs": set()}
        self._searching = False
        for detector in detectors:
            self._searching = self._searching or detector.search is not None
            if detector.view != "wide":
                stems[detector.view].update(stem for stem in detector.stems if isinstance(stem, bytes))
        self._brief = tuple(stem for stem in stems["raw"] if len(stem) < _HEAD)
        self._heads = frozenset(stem[:_HEAD] for stem in stems["raw"] if len(stem) >= _HEAD)
        self._brief_low = tuple(stem for stem in stems["low"] if len(stem) < _HEAD)
        self._heads_low = frozenset(stem[:_HEAD] for stem in stems["low"] if len(stem) >= _HEAD)
        self._shapes = tuple(stems["shape"])
        self._runs = tuple(stems["runs"])

    def shut(self, views: Views) -> bool:
        """Whether none of the detectors has anything to look at. False for texts it does not judge."""
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
                if stem in view:  # type: ignore[operator]
                    return False
        return not self._runs or bare(views)


def bare(views: Views) -> bool:
    """Whether a short text has no escapes in it and nothing as long as base64 is looked for."""
    text = views.text
    if not text.isascii() or "%" in text or "&" in text or "\\" in text:
        return False
    return len(text) < RUN or b"A" * RUN not in views["runs"]  # type: ignore[operator]
