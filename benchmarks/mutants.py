"""Measure how many changes that remove tracing `somatrace check` catches.

Every way in `tests/check/mutating.py` removes the tracing call from every traced tree of the corpus; starting
the mutant shows whether it is still traced. Takes most of an hour on two cores; a sample of 250 two minutes.

python benchmarks/mutants.py [--sample COUNT] [--seed SEED] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.check.mutating import Fate, Mutant, fate, mutants, some


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="number of mutants to sample instead of running all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    chosen = some(given.sample, given.seed) if given.sample else mutants()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        fates = list(pool.map(_fate, chosen))
    report = _report(fates)
    for name, value in report.items():
        print(f"{name:28} {value}")
    for title, found in (("missed", _missed(fates)), ("reported, though traced", _spurious(fates))):
        for one in found:
            started, checked = sorted(one.really), sorted(one.said)
            print(f"{title}: {one.mutant}: a real start shows {started}, the check reports {checked}")
    if given.json:
        given.json.write_text(json.dumps(report))
    return 0


def _fate(mutant: Mutant) -> Fate:
    with tempfile.TemporaryDirectory() as folder:
        return fate(mutant, Path(folder))


def _report(fates: list[Fate]) -> dict[str, int | float]:
    lost = [one for one in fates if one.lost]
    caught = sum(one.caught for one in lost)
    return {
        "mutants": len(fates),
        "that do not start": sum(not one.starts for one in fates),
        "that lose tracing": len(lost),
        "of them caught": caught,
        "caught %": round(100 * caught / len(lost), 2) if lost else 0.0,
        "still traced": sum(one.starts and not one.lost for one in fates),
        "of them reported": len(_spurious(fates)),
        "ways": len(Counter(one.mutant.way.partition(" (")[0] for one in fates)),
    }


def _missed(fates: list[Fate]) -> list[Fate]:
    return [one for one in fates if one.lost and not one.caught]


def _spurious(fates: list[Fate]) -> list[Fate]:
    return [one for one in fates if one.starts and not one.lost and one.caught]


if __name__ == "__main__":
    sys.exit(main())
