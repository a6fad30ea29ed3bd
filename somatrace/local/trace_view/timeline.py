"""Positions of spans in percent of their trace, and the visible range."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from somatrace.local import formatting
from somatrace.local.trace_view import minimap
from somatrace.local.trace_view.span_tree import Node

_NUMBER: Final = r"([0-9]{1,3}(?:\.[0-9]{1,6})?)"
_ZOOM: Final = re.compile(f"{_NUMBER}-{_NUMBER}")


class Zoom(NamedTuple):
    """The visible range; `text` is its form in an address, "" for the whole trace."""

    text: str
    begin: float
    end: float

    @property
    def box(self) -> str:
        """The view box of a bar's SVG, so that another range needs no other bars."""
        return f"{self.begin:g} 0 {self.end - self.begin:g} 12"

    @property
    def outside(self) -> str:
        """An SVG path over the part of the minimap outside the range, in a box of `minimap.COLUMNS`."""
        if not self.text:
            return ""
        first, last = (share * minimap.COLUMNS / 100 for share in (self.begin, self.end))
        return f"M0 0H{first:g}V6H0zM{last:g} 0H{minimap.COLUMNS}V6H{last:g}z"


WHOLE: Final = Zoom("", 0, 100)


def zoom(text: str) -> Zoom:
    """Parse `<from>-<to>`; returns the whole trace if it is invalid."""
    match = _ZOOM.fullmatch(text)
    if match is None:
        return WHOLE
    begin, end = float(match[1]), float(match[2])
    return Zoom(text, begin, end) if 0 <= begin < end <= 100 and end - begin < 100 else WHOLE


def ticks(shown: Zoom, length_ns: int) -> list[str]:
    """The times since the trace's start at the left edge, the middle and the right edge."""
    middle = (shown.begin + shown.end) / 2
    return [
        formatting.duration(length_ns * share / 100) if share else "0"
        for share in (shown.begin, middle, shown.end)
    ]


class TimelineBars:
    """Computes the bars of spans in their trace."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start = start_ns
        self._scale = 100 / max(end_ns - start_ns, 1)

    def __call__(self, node: Node) -> tuple[str, str, str]:
        """Left edge and width in percent, and the CSS class. The style sheet gives a bar's edge a fixed
        width, so that the shortest bars stay visible."""
        span, scale = node.span, self._scale
        left = min(max((span.start_ns - self._start) * scale, 0.0), 100.0)
        width = max((span.end_ns - span.start_ns) * scale, 0.0)
        return f"{left:.5f}", f"{width:.5f}", minimap.kind(node)
