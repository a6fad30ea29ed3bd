"""Replace detected values with markers, keeping escapes whole and adding quotes where JSON needs them."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Callable, Sequence
from typing import Final

from somatrace.guard.detection.engine import MARKER, DetectedValue, compiled

Pseudonymise = Callable[[str, str], str]
"""Returns a short pseudonym for (type, value)."""

#: Characters. Longer texts are not JSON numbers.
_NUMBER: Final = 40
_SPACE: Final = r"(?:\s|\\{1,15}[nrt])"


def settled(text: str, hit: DetectedValue) -> DetectedValue | None:
    """The hit without half an escape at either end: escapes stay whole, so JSON stays JSON."""
    start, end = hit.start, hit.end
    if start > 0 and text[start - 1] == "\\":
        escape = compiled(r"u[0-9A-Fa-f]{4}|[nrtbf/\"](?=.)").match(text, start, end)
        start = escape.end() if escape else start
    while end > start and text[end - 1] == "\\":
        end -= 1
    if end <= start or compiled(rf"(?:{MARKER}[\s\\,;.:]*+)++").fullmatch(text, start, end):
        return None  # already replaced
    return (
        hit
        if (start, end) == (hit.start, hit.end)
        else DetectedValue(start, end, hit.type, hit.category, hit.value)
    )


def replaced(
    text: str,
    hits: Sequence[DetectedValue],
    pseudonym: Pseudonymise | None,
    start: int = 0,
    stop: int | None = None,
) -> str:
    """text[start:stop] with a marker in place of each hit. Hits are within it, ordered and disjoint."""
    numbers = _Numbers(text)
    pieces: list[str] = []
    done = start
    for hit in hits:
        first, last, quote = numbers.extent(hit)
        if first < done:
            first, quote = done, ""
        if pseudonym is not None and hit.category != "secrets":
            marker = f"[{hit.type}:{pseudonym(hit.type, hit.value)}]"
        else:
            marker = f"[{hit.type}]"
        pieces += (text[done:first], quote, marker, quote)
        done = last
    pieces.append(text[done:stop])
    return "".join(pieces)


class _Numbers:
    """Numbers that are JSON values: their markers need quotes to keep the text valid JSON."""

    def __init__(self, text: str) -> None:
        self._text = text

    def extent(self, hit: DetectedValue) -> tuple[int, int, str]:
        """The start and end of the number, and the quotes its marker needs."""
        text, start, end = self._text, hit.start, hit.end
        if compiled(rf"\d+(?:(?:{_SPACE}|,)+\d+)+").fullmatch(text, start, end):
            return start, end, self._list_quote(start)
        if not compiled(r"[0-9.eE+-]+").fullmatch(text, start, end):
            return start, end, ""
        number = compiled(rf"[0-9.eE+-]{{0,{_NUMBER}}}").match(text, end)
        last = number.end() if number else end
        before = text[max(0, start - _NUMBER) : start]
        start -= len(before) - len(before.rstrip("0123456789.+-"))
        if not compiled(r"\s{0,40}(?:[,}\]]|\\[nrt]|$)").match(text, last):
            return hit.start, hit.end, ""
        before = text[max(0, start - 48) : start].rstrip()
        key = compiled(r"(?s).*?(\\{0,15}\")\s{0,8}:$").fullmatch(before)
        if key is not None and (key[1] != '"' or not self._json or not self._inside_string(start)):
            return start, last, key[1]
        if before[-1:] in ("[", ",") and self._json and not self._inside_string(start):
            return start, last, '"'
        return hit.start, hit.end, ""

    def _list_quote(self, start: int) -> str:
        """The quotes that a marker needs in place of all the numbers of a list."""
        opening = compiled(rf"(?:(\\{{0,15}}\"){_SPACE}{{0,8}}:{_SPACE}{{0,8}})?\[{_SPACE}{{0,40}}$").search(
            self._text[max(0, start - 64) : start]
        )
        if opening is None:
            return ""
        if opening[1] and (opening[1] != '"' or not self._json or not self._inside_string(start)):
            return opening[1]
        return '"' if self._json and not self._inside_string(start) else ""

    def _inside_string(self, at: int) -> bool:
        return bisect.bisect_right(self._quotes, at) % 2 == 1

    @functools.cached_property
    def _json(self) -> bool:
        return self._text.lstrip()[:1] in ("{", "[")

    @functools.cached_property
    def _quotes(self) -> list[int]:
        """The positions at which strings open and close, if the text is JSON."""
        return [match.start() for match in re.finditer(r'\\.|"', self._text, re.DOTALL) if match[0] == '"']
