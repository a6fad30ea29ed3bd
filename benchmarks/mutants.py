"""Measure how many changes that remove tracing `somatrace check` catches.

Every way in `tests/check/mutating.py` removes the tracing call from every traced tree of the corpus; starting
the mutant shows whether it is still traced. Takes most of an hour on two cores; a sample of 250 two minutes.
`--keep FILE` writes down what each start shows; the same command later starts only the rest.

python benchmarks/mutants.py [--sample COUNT] [--seed SEED] [--keep FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.check.mutating import Fate, Mutant, fate, mutants, said, some


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="number of mutants to sample instead of running all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="file of what the starts have shown")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    # in any order but that of the trees, so that the results so far are a fair sample
    chosen = some(given.sample or len(mutants()), given.seed)
    fates = list(_fates(chosen, given.keep))
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


def _fates(chosen: list[Mutant], keep: Path | None) -> Iterator[Fate]:
    """What happens to each, in the order in which it is known."""
    kept = keep.read_text().splitlines() if keep is not None and keep.exists() else []
    shown = dict(json.loads(line) for line in kept)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for one in as_completed([pool.submit(_fate, mutant, shown.get(_key(mutant))) for mutant in chosen]):
            found = one.result()
            if keep is not None and _key(found.mutant) not in shown:
                with keep.open("a") as file:
                    file.write(json.dumps([_key(found.mutant), sorted(found.really)]) + "\n")
            yield found


def _fate(mutant: Mutant, shown: list[str] | None) -> Fate:
    with tempfile.TemporaryDirectory() as folder:
        if shown is None:
            return fate(mutant, Path(folder))
        return Fate(mutant, frozenset(shown), said(mutant, Path(folder)))


def _key(mutant: Mutant) -> str:
    """The mutant and what its files hold."""
    return hashlib.sha256(json.dumps([str(mutant), mutant.sample.files]).encode()).hexdigest()


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
