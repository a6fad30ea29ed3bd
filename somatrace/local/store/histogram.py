"""Histograms of trace durations, packed into one integer with 32 bits per slot.

Adding or subtracting two histograms is therefore one operation on integers. Four slots make an octave,
which keeps percentiles within nine percent.
"""

from __future__ import annotations

import math
from typing import Final

_PER_OCTAVE: Final = 4
_BITS: Final = 32
_MASK: Final = (1 << _BITS) - 1


def one(nanoseconds: int) -> int:
    """The histogram of a single duration; durations below a microsecond share the first slot."""
    slot = math.floor(math.log2(nanoseconds / 1000) * _PER_OCTAVE) if nanoseconds > 1000 else 0
    return 1 << slot * _BITS


def packed(histogram: int) -> str:
    """The histogram as text without its empty low slots: `<slots omitted>:<hexadecimal>`."""
    low = max(0, (histogram & -histogram).bit_length() - 1) // _BITS
    return f"{low}:{histogram >> low * _BITS:x}"


def unpacked(text: str) -> int:
    """The inverse of `packed`."""
    low, _, slots = text.partition(":")
    return int(slots, 16) << int(low) * _BITS


def percentiles(histogram: int, *percents: float) -> list[float | None]:
    """Approximate percentiles of the durations, in nanoseconds."""
    counts: list[int] = []
    while histogram:
        counts.append(histogram & _MASK)
        histogram >>= _BITS
    return [_percentile(counts, sum(counts) * percent / 100) for percent in percents]


def _percentile(counts: list[int], wanted: float) -> float | None:
    for slot, traces in enumerate(counts):
        if traces and traces >= wanted:
            return 1000 * 2 ** ((slot + wanted / traces) / _PER_OCTAVE)
        wanted -= traces
    return None
