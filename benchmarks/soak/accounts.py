"""What became of the spans of a soak: by the target, by the files, and by what the processes have said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.service import Run

#: Seconds after which a span that ended survives `kill -9`.
SAFE: Final = 0.25


@dataclass
class Accounts:
    """Numbers of spans."""

    made: int = 0
    arrived: int = 0
    on_disk: int = 0
    duplicates: int = 0
    #: Missing spans of processes that ended by themselves, and what these have counted, by reason.
    missing: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    #: Missing spans of killed processes.
    young: int = 0
    in_memory: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def unexplained(self) -> int:
        return self.missing - sum(self.lost.values())

    def rows(self) -> Iterator[tuple[str, int]]:
        yield "made", self.made
        yield "at the target", self.arrived
        yield "on disk at the end", self.on_disk
        for reason, spans in sorted(self.lost.items()):
            yield f'counted as lost: `lost["{reason}"]`', spans
        yield f"of killed processes: ended within the last {SAFE * 1000:.0f} ms", self.young
        yield "of killed processes: earlier, and only in memory by their last counts", self.in_memory
        yield "unexplained", self.unexplained
        yield "copies beyond the first at the target", self.duplicates


def reconciled(
    runs: Sequence[Run], killed: Mapping[int, float], copies: Mapping[str, int], waiting: Iterable[str]
) -> Accounts:
    """The accounts of all starts; `killed` are the moments of those that were, by number."""
    found = Accounts(duplicates=sum(copies.values()) - len(copies))
    there, on_disk = copies.keys(), {*waiting} - copies.keys()
    for number, run in enumerate(runs):
        made = {*run.made()}
        missing = made - there - on_disk
        found.made += len(made)
        found.arrived += len(made & there)
        found.on_disk += len(made & on_disk)
        if number in killed:
            _add_killed(found, run, missing, killed[number])
        else:
            counts = run.counts()
            found.missing += len(missing)
            found.lost += Counter(counts.lost) + Counter(counts.evicted)
            if counts.difference:
                found.problems.append(f"the counts of a process do not add up: {counts}")
    if found.unexplained:
        found.problems.append(f"{found.unexplained} spans are unexplained")
    return found


def _add_killed(found: Accounts, run: Run, missing: set[str], moment: float) -> None:
    young = missing - {*run.made(before=moment - SAFE)}
    found.young += len(young)
    found.in_memory += len(missing) - len(young)
    # the last counts include what had ended when the ones before them were noted
    *_, before, _ = [0.0, 0.0, *run.moments("status")]
    counted = (missing - young) & {*run.made(before=before)}
    if not counted:
        return
    counts = run.counts()
    at_most = counts.queued_spans - counts.on_disk + sum(counts.lost.values())
    if len(counted) > at_most:
        found.problems.append(
            f"{len(counted)} spans of a killed process are missing, not {at_most}: {counts}"
        )
