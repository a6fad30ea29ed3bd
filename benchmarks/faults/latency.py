"""How long a trace takes its caller under a fault, in turns with a process whose target is well."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults.disks import file_instead, read_only, small_disk
from tests.faults.service import Run, Service, service
from tests.faults.sinks import FAILURES, ONCE, REFUSES, failing

#: Traces in a turn, and turns.
_TRACES: Final = 25
_TURNS: Final = 80
_PROGRAM: Final = """
def trace():
    began = time.perf_counter()
    with span("answer", kind="workflow"):
        for step in ("plan", "retrieve", "call", "write"):
            with span(step):
                pass
    return time.perf_counter() - began

for line in sys.stdin:
    took = []
    for _ in range(int(line)):
        took.append(trace())
        time.sleep(0.002)
    print(json.dumps(took), flush=True)
"""


@contextmanager
def _target(place: Path, *, failure: str) -> Iterator[Service]:
    with failing(failure) as sink, service(place, sink.url) as faulty:
        yield faulty


@contextmanager
def _full_disk(place: Path) -> Iterator[Service]:
    with (
        small_disk(place / "disk", 300) as disk,
        failing(REFUSES) as sink,
        service(place, sink.url, data=disk / "data") as faulty,
    ):
        yield faulty


@contextmanager
def _no_directory(
    place: Path, *, unusable: Callable[[Path], AbstractContextManager[Path]], failure: str
) -> Iterator[Service]:
    with unusable(place / "data"), _target(place, failure=failure) as faulty:
        yield faulty


#: Faults in which the program that makes spans goes on, by their names in the matrix.
FAULTS: Final[dict[str, Callable[[Path], AbstractContextManager[Service]]]] = {
    "none": partial(_target, failure=""),
    **{f"the target {failure}": partial(_target, failure=failure) for failure in (REFUSES, *FAILURES, *ONCE)},
    "the disk is full": _full_disk,
    "a file in place of the directory": partial(_no_directory, unusable=file_instead, failure=""),
    "a read-only file system": partial(_no_directory, unusable=read_only, failure=""),
    "a read-only file system, the target refuses": partial(
        _no_directory, unusable=read_only, failure=REFUSES
    ),
}


def caller_p99(place: Path, fault: str, *, turns: int = _TURNS) -> tuple[float, float]:
    """The 99th percentile of a trace's milliseconds under a fault, and without one.

    Two processes make traces in turns, so that whatever else the machine does affects both.
    """
    for name in ("well", "ill"):
        (place / name).mkdir()
    with _target(place / "well", failure="") as well, FAULTS[fault](place / "ill") as ill:
        runs = [one.start(_PROGRAM) for one in (ill, well)]
        took: list[list[float]] = [[], []]
        for turn in range(turns + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                traces = _traces(runs[which])
                if turn:  # the first one loads modules
                    took[which] += traces
        for run in runs:
            run.kill()
    p99, healthy = (statistics.quantiles(one, n=100)[98] * 1e3 for one in took)
    return p99, healthy


def _traces(run: Run) -> list[float]:
    """The seconds that each of the traces of a turn has taken."""
    assert run.process.stdin
    assert run.process.stdout
    print(_TRACES, file=run.process.stdin, flush=True)
    took: list[float] = json.loads(run.process.stdout.readline())
    return took
