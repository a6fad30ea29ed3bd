"""Check every combination of launcher, layout, start, place of the call and flow, and list wrong verdicts.

About 384,000 trees; each is right by construction (`tests/check/combining`).

python benchmarks/combinations.py [--sample COUNT] [--seed SEED]
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from somatrace.check.checker import check
from somatrace.check.project.file_tree import FileTree
from somatrace.check.settings import CheckSettings
from tests.check.combining.product import Combination, product, some

_BATCH = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="number of combinations instead of all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen: Iterable[Combination] = some(given.sample, given.seed) if given.sample else product()
    count = wrong = 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for batch in pool.map(_wrong, _batches(chosen)):
            count += batch[0]
            wrong += len(batch[1])
            for line in batch[1]:
                print(line, flush=True)
    print(f"combinations  {count}\nwrong         {wrong}")
    return 1 if wrong else 0


def _batches(chosen: Iterable[Combination]) -> Iterable[tuple[Combination, ...]]:
    left = iter(chosen)
    while batch := tuple(itertools.islice(left, _BATCH)):
        yield batch


def _wrong(batch: tuple[Combination, ...]) -> tuple[int, list[str]]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(batch):
            place = Path(folder, str(number))
            one.sample().write(place)
            findings = check(FileTree(place), CheckSettings()).findings
            codes = {finding.code for finding in findings} or {"ok"}
            if len(codes) != 1 or not codes <= one.program.expected:
                found.append(f"{one}: {sorted(codes)} instead of {sorted(one.program.expected)}")
    return len(batch), found


if __name__ == "__main__":
    sys.exit(main())
