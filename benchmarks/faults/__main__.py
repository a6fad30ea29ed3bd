"""Run a traced service under faults, start it again with its target back, and count its spans.

Processes, sockets, signals and file systems are real. Each program notes every span that it has ended; what
was delivered are distinct span ids at the target over both starts, and what is on disk is read from the
files between them. The counts of `status()` have to agree with both: otherwise, or if a span is missing that
was not said to be lost, the command exits with 1. With `--peers` other systems run under the same faults;
they have no counts to agree with.

    python -m benchmarks.faults [--spans 2000] [--only 503] [--peers]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults import latency, peers
from benchmarks.faults.experiments import FAULTS, Row
from tests.faults.disks import CannotMountError

#: How many times the 99th percentile without a fault one with it may be.
_GOAL = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spans", type=int, default=2000, help="spans of a program (default 2000)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="faults whose names contain a text")
    parser.add_argument("--peers", action="store_true", help="compare with other systems instead")
    given = parser.parse_args()

    def is_chosen(name: str) -> bool:
        return not given.only or any(text in name for text in given.only)

    return peers.table(is_chosen) if given.peers else _table(max(100, given.spans), is_chosen)


def _table(spans: int, is_chosen: Callable[[str], bool]) -> int:
    failed, ratios = 0, []
    print("| fault | made | delivered | on disk | lost | duplicates | exit, s | p99, ms | without, ms |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, fault in FAULTS.items():
        if not is_chosen(name):
            continue
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
                row = fault(Path(place), spans)
            cells, ratio = _caller(name)
        except CannotMountError as error:
            print(f"{name}: not run: {error}", file=sys.stderr)
            continue
        ratios += ratio
        failed |= _show(name, row, cells)
    if ratios:
        kept = "kept" if max(ratios) <= _GOAL else "MISSED"
        print(
            f"\nCaller's p99: at most {max(ratios):.2f} times that without a fault; goal {_GOAL:.1f}, {kept}."
        )
    return failed


def _caller(name: str) -> tuple[str, list[float]]:
    """The cells of the caller's latency under a fault, and the ratio of both."""
    if name not in latency.FAULTS:
        return "- | -", []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        p99, healthy = latency.caller_p99(Path(place), name)
    return f"{p99:.2f} | {healthy:.2f}", [p99 / healthy]


def _show(name: str, row: Row, cells: str) -> int:
    print(f"| {name} | {row.cells()} | {cells} |", flush=True)
    if row.problem:
        print(f"{name}: {row.problem}", file=sys.stderr)
    return 1 if row.problem else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
