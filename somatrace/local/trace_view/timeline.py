"""Where spans lie in time, in percent of their trace, and the stretch of it that is shown."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from somatrace.local import formatting
from somatrace.local.trace_view import minimap
from somatrace.local.trace_view.span_tree import Node

_NUMBER: Final = r"([0-9]{1,3}(?:\.[0-9]{1,6})?)"
_ZOOM: Final = re.compile(f"{_NUMBER}-{_NUMBER}")


class Zoom(NamedTuple):
    """The stretch that is shown; `text` says it in an address, "" all of it."""

    text: str
    begin: float
    end: float

    @property
    def box(self) -> str:
        """The part that a bar's picture shows, so that another stretch needs no other bars."""
        return f"{self.begin:g} 0 {self.end - self.begin:g} 12"

    @property
    def outside(self) -> str:
        """An SVG path over what the strip shows in vain, in a box of `minimap.COLUMNS`."""
        if not self.text:
            return ""
        first, last = (share * minimap.COLUMNS / 100 for share in (self.begin, self.end))
        return f"M0 0H{first:g}V6H0zM{last:g} 0H{minimap.COLUMNS}V6H{last:g}z"


WHOLE: Final = Zoom("", 0, 100)


def zoom(text: str) -> Zoom:
    """What `<from>-<to>` asks for; all of the trace when that makes no sense."""
    match = _ZOOM.fullmatch(text)
    if match is None:
        return WHOLE
    begin, end = float(match[1]), float(match[2])
    return Zoom(text, begin, end) if 0 <= begin < end <= 100 and end - begin < 100 else WHOLE


def ticks(shown: Zoom, length_ns: int) -> list[str]:
    """The time at the left edge, in the middle and at the right edge, from the trace's start."""
    middle = (shown.begin + shown.end) / 2
    return [
        formatting.duration(length_ns * share / 100) if share else "0"
        for share in (shown.begin, middle, shown.end)
    ]


class TimelineBars:
    """Where spans lie in their trace."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start = start_ns
        self._scale = 100 / max(end_ns - start_ns, 1)

    def __call__(self, node: Node) -> tuple[str, str, str]:
        """Left edge and width in percent, and the class. A bar's edge has a width of its own in the
        style, so that the shortest can be seen."""
        span, scale = node.span, self._scale
        left = min(max((span.start_ns - self._start) * scale, 0.0), 100.0)
        width = max((span.end_ns - span.start_ns) * scale, 0.0)
        return f"{left:.5f}", f"{width:.5f}", minimap.kind(node)
