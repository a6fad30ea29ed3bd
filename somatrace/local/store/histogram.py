"""How long traces took, counted in slots, as one whole number: lane after lane of 32 bits.

So two histograms are added by adding two numbers, in either direction. Four slots make an octave, which
puts a percentile within nine percent.
"""

from __future__ import annotations

import math
from typing import Final

_PER_OCTAVE: Final = 4
_LANE: Final = 32
_MASK: Final = (1 << _LANE) - 1


def one(nanoseconds: int) -> int:
    """The histogram of a single duration; all below a microsecond share the first slot."""
    slot = math.floor(math.log2(nanoseconds / 1000) * _PER_OCTAVE) if nanoseconds > 1000 else 0
    return 1 << slot * _LANE


def packed(histogram: int) -> str:
    """As text without the empty lanes at the low end: `<lanes left out>:<hexadecimal>`."""
    low = max(0, (histogram & -histogram).bit_length() - 1) // _LANE
    return f"{low}:{histogram >> low * _LANE:x}"


def unpacked(text: str) -> int:
    """What `packed` was given."""
    low, _, lanes = text.partition(":")
    return int(lanes, 16) << int(low) * _LANE


def percentiles(histogram: int, *percents: float) -> list[float | None]:
    """About the durations, in nanoseconds, below which so many percent of the traces lie."""
    counts: list[int] = []
    while histogram:
        counts.append(histogram & _MASK)
        histogram >>= _LANE
    return [_percentile(counts, sum(counts) * percent / 100) for percent in percents]


def _percentile(counts: list[int], wanted: float) -> float | None:
    for slot, traces in enumerate(counts):
        if traces and traces >= wanted:
            return 1000 * 2 ** ((slot + wanted / traces) / _PER_OCTAVE)
        wanted -= traces
    return None
