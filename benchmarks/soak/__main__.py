"""Run a traced service under faults drawn at random, and account for every span that it has ended.

Two processes of one service make 2,000 spans per second together. Meanwhile their target dies, hangs, answers
503 or 429, is slow, or keeps spans and hangs up; the processes are killed with SIGKILL and started again; the
file system that their spans wait on gets full. At the end everything works again, and distinct span ids at
the target, those in the files and the counts of losses are compared with what was made. What a killed process
had not written down is not counted by anybody: it has to be younger than 250 ms, or have been in memory only
by the last counts of the process, which notes them ten times per second. The command exits with 1 if a span
is unexplained.

    python -m benchmarks.soak [--seconds 600] [--rate 2000] [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.soak.accounts import Accounts, reconciled
from benchmarks.soak.faults import Soak
from tests.faults.disks import CannotMountError, small_disk
from tests.faults.service import service
from tests.faults.target import target

#: Kilobytes of the file system: room for an outage of a minute.
_DISK = 96 * 1024


@contextmanager
def _disk(place: Path) -> Iterator[Path | None]:
    """A file system that can be filled; None if it cannot be mounted."""
    try:
        with small_disk(place / "disk", _DISK) as disk:
            yield disk
    except CannotMountError as error:
        print(f"the disk does not get full: {error}", file=sys.stderr)
        yield None


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="duration (default 600)")
    parser.add_argument("--rate", type=float, default=2000, help="spans per second (default 2000)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the faults")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        _disk(Path(name)) as disk,
        target() as sink,
        service(Path(name), sink.url, data=disk / "data" if disk else None) as traced,
    ):
        soak = Soak(traced, sink, disk, given.rate, random.Random(given.seed))
        soak.run(given.seconds)
        soak.finish()
        accounts = reconciled(soak.runs, soak.killed, sink.copies, traced.waiting())
    _print(accounts, soak)
    now = os.getloadavg()[0]
    print(f"\n{given.seconds:.0f} s, seed {given.seed}; load before and after: {load:.1f}, {now:.1f}.")
    for problem in accounts.problems:
        print(problem, file=sys.stderr)
    return 1 if accounts.problems else 0


def _print(accounts: Accounts, soak: Soak) -> None:
    print("| fault | times | s |\n|---|---:|---:|")
    for fault, took in sorted(soak.faults.items()):
        print(
            f"| {fault} | {len(took)} | {sum(took):.0f} |" if sum(took) else f"| {fault} | {len(took)} | - |"
        )
    print("\n| | spans |\n|---|---:|")
    for name, spans in accounts.rows():
        print(f"| {name} | {spans:,} |")
    print(f"\nThe largest process had {soak.peak_kilobytes / 1024:.0f} MB.")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
