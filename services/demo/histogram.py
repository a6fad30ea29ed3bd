"""Latencies as lines of text: percentiles, and a bar for each bucket."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from services.demo.report import latency, percentile
from somatrace.runtime.text_table import table

#: Buckets for each doubling of the latency.
PER_DOUBLING = 2
WIDTH = 40


def lines(name: str, seconds: Sequence[float]) -> Iterator[str]:
    """The figures of `seconds`, which has at least one, and their histogram in log-spaced buckets."""
    of = [(label, latency(percentile(list(seconds), share))) for label, share in
          (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))]  # fmt: skip
    figures = ", ".join(f"{label} {value}" for label, value in of)
    yield f"{name}: {len(seconds):,} requests, {figures}"
    counts = Counter(map(_bucket, seconds))
    most = max(counts.values())
    rows = [
        (
            f"  <= {latency(_upper(bucket))}",
            f"{counts[bucket]:,}",
            "#" * math.ceil(counts[bucket] / most * WIDTH),
        )
        for bucket in range(min(counts), max(counts) + 1)
    ]
    yield from table(rows, right={1})


def _bucket(seconds: float) -> int:
    """The smallest bucket whose upper bound is not below `seconds`; bucket 0 ends at a millisecond."""
    return math.ceil(PER_DOUBLING * math.log2(max(seconds, 0.001) / 0.001))


def _upper(bucket: int) -> float:
    return 0.001 * float(2 ** (bucket / PER_DOUBLING))
