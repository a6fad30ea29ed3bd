"""Make detectors for secrets with a known prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from somatrace.guard.detection.engine import LEFT, Detector, ValueSpan, compiled

#: Characters at the end of a text in which a truncated key is searched for.
CUT: Final = 64


def prefixed(
    type_: str,
    about: str,
    stems: Sequence[str],
    pattern: str,
    *,
    check: Callable[[str], bool] | None = None,
    back: int = 0,
    cut: bool = False,
) -> Detector:
    """A detector for secrets with a known prefix; `pattern` matches from `back` characters before a stem.

    A group in the pattern is the value; without one it is the whole match. With `cut` the stem alone is
    conclusive: at the very end of a text, which may have been cut there, a few more characters suffice.
    """
    bounded = LEFT + pattern
    # The same characters with a lower minimum count.
    begun = (
        LEFT
        + re.sub(r"\{\d+(?:,(\d+))?\}", lambda most: f"{{0,{most[1] or most[0][1:-1]}}}", pattern)
        + r"\Z"
    )

    def locate(text: str, at: int) -> ValueSpan | None:
        match = compiled(bounded).match(text, max(0, at - back))
        if match is None:
            return _begun(text, at, max(0, at - back)) if cut and len(text) - at <= CUT else None
        start, end = match.span(match.lastindex or 0)
        if check is not None and not check(text[start:end]):
            return None
        return ValueSpan(start, end, type_)

    def _begun(text: str, at: int, start: int) -> ValueSpan | None:
        match = compiled(begun).match(text, start)
        stem = max((len(one) for one in stems if text.startswith(one, at)), default=0)
        if match is None or not _like_a_key(text[at + stem :]):
            return None
        return ValueSpan(*match.span(match.lastindex or 0), type_)

    encoded = tuple(stem.encode() for stem in stems)
    return Detector((type_,), "secrets", about, "raw", encoded, locate, dense=True)


def _like_a_key(rest: str) -> bool:
    """Whether the text after a stem mixes letters and digits unlike any word, even a numbered one."""
    return any(
        len(part) >= 6 and re.fullmatch(r"[A-Za-z]?[a-z]*\d*|[A-Z]+", part) is None
        for part in re.findall(r"[A-Za-z0-9]+", rest)
    )
