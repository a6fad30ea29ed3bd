"""Run programs in turn, several rounds, and keep what each of them has measured."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.road.cases import Case
from benchmarks.road.sink import arrived

_PROGRAM = Path(__file__).with_name("child") / "run.py"
#: Characters of prompt and answer of a call; the guard may replace an address in it.
_CHARACTERS = 3000
#: Of the plain SDK's runs: the largest and the smallest may differ by this share of the median.
STEADY = 0.15


@dataclass
class Series:
    """The figures of one program, a dict for each round, and why they do not count."""

    runs: list[dict[str, float]] = field(default_factory=list)
    void: str = ""

    def median(self, what: str) -> float:
        return statistics.median(run[what] for run in self.runs)

    def values(self, what: str) -> list[float]:
        return [run[what] for run in self.runs]

    def spread(self, what: str) -> float:
        values = self.values(what)
        return (max(values) - min(values)) / statistics.median(values)


@dataclass(frozen=True)
class Bench:
    """How programs are run: rounds, spans and their rate, the address of the sink."""

    sink: str
    rounds: int
    spans: int
    rate: float
    attempts: int = 3

    def measure(
        self, title: str, cases: dict[str, Case], *, steady: tuple[str, str] | None = None
    ) -> dict[str, Series]:
        """Run every case once per round. `steady` names a case and a figure whose spread must be small:
        otherwise all rounds are run again, up to `attempts` times."""
        for attempt in range(1, self.attempts + 1):
            found = {name: Series() for name in cases}
            for number in range(self.rounds):
                order = list(cases) if number % 2 == 0 else list(reversed(cases))
                for name in order:
                    note = f"{title}: round {number + 1} of {self.rounds}, {name}"
                    _show(note)
                    self._run(name, cases[name], found[name])
            _show("")
            if steady is None or self.rounds == 1 or found[steady[0]].spread(steady[1]) <= STEADY:
                break
            if attempt < self.attempts:
                spread = found[steady[0]].spread(steady[1])
                print(f"{title}: the plain SDK varied by {spread:.0%}, again", file=sys.stderr)
        return found

    def _run(self, name: str, case: Case, series: Series) -> None:
        given = {"spans": self.spans, "rate": self.rate, "content": False, "sink": self.sink}
        given |= {"system": case.system, "work": case.work, **case.options}
        arrived(self.sink)
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                [sys.executable, str(_PROGRAM), json.dumps(given)],
                env=case.variables(self.sink, directory),
                cwd=directory,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"\n{name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        there = arrived(self.sink)
        figures["arrived"] = there.spans if case.sends else (figures["delivered"] or 0)
        series.runs.append(figures)
        if case.checked and case.system != "none" and figures["arrived"] != figures["made"]:
            series.void = f"{figures['arrived']:.0f} of {figures['made']:.0f} spans arrived"
        if case.sends and given["content"] and there.characters < _CHARACTERS * figures["calls"]:
            series.void = f"{there.characters} characters of content arrived"


def _show(note: str) -> None:
    """Show on a terminal what is running."""
    if sys.stderr.isatty():
        print(f"\r{note:<78.78}\r", end="", file=sys.stderr, flush=True)
