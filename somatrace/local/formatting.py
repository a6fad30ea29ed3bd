"""Human-readable formatting of numbers, times and untrusted text."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

_UNSEEN: Final = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
_LONG: Final = 2048


def visible(value: Any, limit: int = _LONG) -> str:
    """Text with control, direction and zero-width characters shown as escapes."""
    text = str(value)
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(_escaped(character) for character in cut)
    return cut if len(text) <= limit else f"{cut}… first {limit:,} of {len(text):,} characters"


def _escaped(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _UNSEEN:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def line(value: Any, limit: int = 120) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(str(value)[: limit * 4].split())
    shown = visible(text[:limit])
    return shown if len(text) <= limit else shown + "…"


def duration(nanoseconds: float | None) -> str:
    """840 µs, 8.31 ms, 1.28 s, 2 min 05 s, 8 h 01 min, 3 d 04 h."""
    if nanoseconds is None:
        return "?"
    if nanoseconds < 0:
        return "negative"
    for unit, size in (("µs", 1e3), ("ms", 1e6), ("s", 1e9)):
        if nanoseconds / size < (60 if unit == "s" else 999.5):
            amount = nanoseconds / size
            return f"{amount:.0f} {unit}" if unit == "µs" or amount >= 99.95 else f"{amount:.3g} {unit}"
    minutes, seconds = divmod(round(nanoseconds / 1e9), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(round(nanoseconds / 60e9), 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(nanoseconds / 3600e9), 24)
    return f"{days} d {hours:02d} h"


def moment(nanoseconds: int) -> str:
    """A UTC time with milliseconds."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return f"{nanoseconds} ns"


def period(since_ms: int | None, until_ms: int | None) -> str:
    """A time range in UTC: 11-27 14:05 to 14:10, from 11-27 14:05, until 11-27 14:10."""
    begin, end = (None if at is None else moment(at * 1_000_000)[5:16] for at in (since_ms, until_ms))
    if begin is None or end is None:
        return f"from {begin}" if end is None else f"until {end}"
    return f"{begin} to {end[6:] if begin[:5] == end[:5] else end}"


def count(number: float | None) -> str:
    """12,480; from a million on 1.28 M; `?` for an unknown number."""
    if number is None:
        return "?"
    return f"{number / 1e6:.3g} M" if number >= 1e6 else f"{number:,.0f}"


def counted(number: float, one: str, many: str = "") -> str:
    """1 span, 2 spans."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def rate(per_second: float) -> str:
    """12/s, or 4/min below one per second."""
    return f"{per_second:,.0f}/s" if per_second >= 1 else f"{per_second * 60:.0f}/min"


def size(characters: int) -> str:
    """A length of text: 1,204 characters, from ten thousand on 74.1 K characters."""
    if characters < 10_000:
        return counted(characters, "character")
    return (
        f"{characters / 1000:.3g} K characters"
        if characters < 1e6
        else f"{characters / 1e6:.3g} M characters"
    )


def cost(amount: float | None) -> str:
    """An amount in USD; unknown and zero are both empty, since providers rarely report cost."""
    if amount is None or amount < 5e-7:
        return ""
    return f"${amount:,.{2 if amount >= 1 else 4 if amount >= 0.01 else 6}f}"
