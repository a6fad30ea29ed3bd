"""Other tracing systems under the faults of the matrix, each as it sets itself up, beside somatrace."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.road.cases import ENVIRONMENTS, NAMES, PEERS, Case, installed_peers
from tests.faults.target import HANGS, REFUSES, SLOW, UNAVAILABLE, Target, target

_PROGRAM: Final = Path(__file__).with_name("child.py")
#: Seconds that a program makes spans, before an outage and after it; those of the outage that ends.
_WORK: Final = 4.0
_PART: Final = 2.0
_OUTAGE: Final = 20.0
#: Seconds after which a process that does not end is killed.
_PATIENCE: Final = 90.0
#: The first traces load modules.
_WARM: Final = 20


@dataclass
class Program:
    """One start of a program, and the file in which it notes its spans."""

    process: subprocess.Popen[bytes]
    notes: Path
    output: Path

    def noted(self, kind: str) -> list[list[Any]]:
        # A line that crosses a page is not written at once; its rest follows, or never does after `kill -9`.
        complete, _, _ = (self.notes.read_text() if self.notes.exists() else "").rpartition("\n")
        return [note for note in map(json.loads, complete.splitlines()) if note[1] == kind]

    def await_begin(self) -> None:
        while not self.noted("begin"):
            if self.process.poll() is not None:
                raise SystemExit(self.output.read_text())
            time.sleep(0.01)

    def ended(self) -> float | None:
        """Wait for the end; return the seconds from the last line of the program to it, or None."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        ended = time.monotonic()
        self.process.kill()
        self.process.wait()
        return ended - self.noted("end")[0][0] if self.noted("end") else None


@dataclass
class Scene:
    """A system, its target and its directory, for as many starts as a fault needs."""

    system: str
    sink: Target
    place: Path
    started: list[Program] = field(default_factory=list)

    def start(self, seconds: float) -> Program:
        """Start the program, and wait until its tracing is set up."""
        number = len(self.started)
        notes, output = self.place / f"notes-{number}", self.place / f"output-{number}"
        given = {"system": self.system, "seconds": seconds, "notes": str(notes), "sink": self.sink.url}
        own = {name: value for name, value in ENVIRONMENTS[self.system].items() if "OTEL_BSP" not in name}
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), json.dumps(given)],
                env=Case(self.system, "", environment=own).variables(self.sink.url, str(self.place)),
                cwd=self.place,
                stdout=file,
                stderr=file,
            )
        self.started.append(Program(process, notes, output))
        self.started[-1].await_begin()
        return self.started[-1]


def _throughout(scene: Scene, behavior: str) -> float | None:
    scene.sink.behave(behavior)
    return scene.start(_WORK).ended()


def _outage(scene: Scene) -> float | None:
    program = scene.start(_PART + _OUTAGE + _PART)
    time.sleep(_PART)
    scene.sink.behave(REFUSES)
    time.sleep(_OUTAGE)
    scene.sink.behave()
    return program.ended()


def _exit(scene: Scene) -> float | None:
    program = scene.start(_WORK)
    time.sleep(_PART)
    scene.sink.behave(REFUSES)
    return program.ended()


def _kill(scene: Scene, behavior: str) -> None:
    scene.sink.behave(behavior)
    program = scene.start(600)
    time.sleep(_WORK)
    program.process.kill()
    program.ended()


FAULTS: Final[dict[str, Callable[[Scene], float | None]]] = {
    "none": lambda scene: _throughout(scene, ""),
    "dead at the start": lambda scene: _throughout(scene, REFUSES),
    f"dead for {_OUTAGE:.0f} s, then back": _outage,
    "503": lambda scene: _throughout(scene, UNAVAILABLE),
    "hangs": lambda scene: _throughout(scene, HANGS),
    "slow (500 ms)": lambda scene: _throughout(scene, SLOW),
    "exit during an outage": _exit,
    "`kill -9`": lambda scene: _kill(scene, ""),
    "`kill -9` during an outage": lambda scene: _kill(scene, REFUSES),
}


@contextmanager
def _scene(system: str) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, target() as sink:
        scene = Scene(system, sink, Path(place))
        try:
            yield scene
        finally:
            for program in scene.started:
                program.process.kill()
                program.process.wait()


@dataclass(frozen=True)
class Row:
    """What became of the spans of a system's first start."""

    made: int
    delivered: int
    duplicates: int
    p99: float
    exit_seconds: float | None

    def cells(self) -> str:
        """Those of the long table."""
        spans = f"{self.made:,} | {self.delivered:,} | {self.duplicates:,}"
        return f"{spans} | {self.p99:.2f} | {self._took or '-'}"

    def cell(self) -> str:
        """That of the short table."""
        return f"{self.delivered / self.made:.0%}{self._took and f', {self._took} s'}"

    @property
    def _took(self) -> str:
        return "" if self.exit_seconds is None else f"{self.exit_seconds:.1f}"


def _row(system: str, fault: Callable[[Scene], float | None]) -> Row:
    with _scene(system) as scene:
        took = fault(scene)
        traces = scene.started[0].noted("trace")
        scene.sink.behave()
        scene.start(_PART).ended()
        copies = scene.sink.copies
    made = [span for *_, spans in traces for span in spans]
    delivered = [span for span in made if span in copies]
    p99 = statistics.quantiles([seconds for _, _, seconds, _ in traces[_WARM:]], n=100)[98] * 1e3
    return Row(len(made), len(delivered), sum(copies[span] - 1 for span in delivered), p99, took)


def table(is_chosen: Callable[[str], bool]) -> int:
    """Print a table of the chosen faults, and its summary; return the exit code."""
    systems = ["sdk", *installed_peers(), "ours"]
    if missing := sorted(set(PEERS) - set(systems)):
        print(f"not installed, and so left out: {', '.join(missing)}", file=sys.stderr)
    load = os.getloadavg()[0]
    print("| fault | system | made | delivered | duplicates | p99, ms | exit, s |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    short = [
        f"| delivered, exit | {' | '.join(NAMES[system] for system in systems)} |",
        "|---" * (len(systems) + 1) + "|",
    ]
    for name, fault in FAULTS.items():
        if not is_chosen(name):
            continue
        cells = []
        for system in systems:
            row = _row(system, fault)
            print(f"| {name} | {NAMES[system]} | {row.cells()} |", flush=True)
            cells.append(row.cell())
        short.append(f"| {name} | {' | '.join(cells)} |")
    print("", *short, sep="\n")
    print(f"\nLoad of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}.")
    return 0
