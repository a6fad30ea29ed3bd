"""Measure what a span costs, from its start to the backend, beside the plain SDK and other systems.

The plain SDK is a BatchSpanProcessor with the OTLP/HTTP exporter and gzip; the others are traceloop-sdk,
langfuse and logfire as they set themselves up, as far as they are installed. Programs run in turn, each in a
fresh process, and send to a backend in another process that only answers 200. Paced programs make 3,000
spans per second, in workflows of five spans of which one is a model call with 25 attributes, unlike any
other; a row counts only if every span has arrived. CPU is user and system time of the whole process until
the last span was sent, minus that of the same program without tracing; `gross` is with it. Rows are medians
of the rounds. If the plain SDK's runs differ by more than 15 %, all rounds are repeated, up to twice.

    python -m benchmarks.road [--rounds 5] [--only off] [--before ../an-earlier-checkout]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.road import rows, single_rows
from benchmarks.road.cases import PEERS, installed_peers
from benchmarks.road.measure import Bench
from benchmarks.road.sink import sink

TABLES: dict[str, tuple[str, rows.Row]] = {
    "off": ("Content off", rows.off),
    "on": ("Content on, redacted", rows.on),
    "small": ("Single properties", single_rows.small),
    "burst": ("A burst", single_rows.burst),
    "start": ("Start", rows.start_cost),
    "width": ("Tasks, threads and attributes", single_rows.width),
    "calls": ("Calls of a model", single_rows.calls),
    "costs": ("Costs", single_rows.costs),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.road", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each program (default 5)")
    parser.add_argument("--spans", type=int, default=6000, help="spans in a paced run (default 6000)")
    parser.add_argument("--rate", type=float, default=3000, help="spans per second (default 3000)")
    parser.add_argument(
        "--attempts", type=int, default=3, help="times that unsteady rounds are run in all (default 3)"
    )
    parser.add_argument("--only", action="append", choices=TABLES, metavar="ROW", help=", ".join(TABLES))
    parser.add_argument("--before", type=Path, help="another checkout, whose figures are printed too")
    parser.add_argument("--quick", action="store_true", help="one round, few spans, no other systems")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.spans, given.rate = 1, 300, 30_000
    peers = [] if given.quick else installed_peers()
    if missing := [] if given.quick else sorted(set(PEERS) - set(peers)):
        print(f"not installed, and so not measured: {', '.join(missing)}", file=sys.stderr)
    before = given.before.resolve() if given.before else None
    load = os.getloadavg()[0]
    with sink() as address:
        bench = Bench(address, max(1, given.rounds), given.spans, given.rate, max(1, given.attempts))
        for name, (title, row) in TABLES.items():
            if given.only is None or name in given.only:
                print(f"### {title}\n\n{row(bench, peers, before)}\n", flush=True)
    print(
        f"Rounds: {given.rounds}; load of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}."
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
