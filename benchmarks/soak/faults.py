"""The service of a soak, and what happens to it."""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.faults.service import Run, Service
from tests.faults.target import BUSY, HANGS, KEEPS, REFUSES, SLOW, UNAVAILABLE, Target

PROCESSES: Final = 2
#: What the target does for a while; half of the time it accepts.
_BEHAVIORS: Final = (REFUSES, HANGS, UNAVAILABLE, BUSY, SLOW, KEEPS, *[""] * 6)
#: Seconds that a behavior lasts, and that a killed process stays away.
_LASTS: Final = (1.0, 8.0)
_AWAY: Final = (0.0, 2.0)
#: How probable a kill, and a full disk, is in that time.
_KILL: Final = 0.3
_FULL: Final = 0.2
#: Seconds in which everything has to arrive at the end.
_PATIENCE: Final = 120.0
_PROGRAM: Final = """
stopped = threading.Event()

def read():
    sys.stdin.read()
    stopped.set()

def report():
    while not stopped.wait(0.1):
        note_status()

for target in (read, report):
    threading.Thread(target=target, daemon=True).start()
rate, due = float(os.environ["RATE"]), time.monotonic()
while not stopped.is_set():
    with bind(tenant_id=f"tenant-{int(due) % 3}"):
        work(20)
    due = max(due + 20 / rate, time.monotonic() - 1)
    time.sleep(max(0, due - time.monotonic()))
flush(120)
"""


class Soak:
    """Processes of a service, until `finish`.

    `runs` are all starts, `killed` the moments of those that were, by number.
    """

    def __init__(
        self, service: Service, sink: Target, disk: Path | None, rate: float, drawn: random.Random
    ) -> None:
        """`disk` is a small file system of the service's data; None if it cannot be filled."""
        self.runs: list[Run] = []
        self.killed: dict[int, float] = {}
        self.faults: defaultdict[str, list[float]] = defaultdict(list)
        self.peak_kilobytes = 0
        self._service = service
        self._sink = sink
        self._disk = disk
        self._rate = rate
        self._random = drawn
        self._living = [self._start() for _ in range(PROCESSES)]

    def run(self, seconds: float) -> None:
        """Let things happen for some seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            behavior = self._random.choice(_BEHAVIORS)
            lasts = min(left, self._random.uniform(*_LASTS))
            self._sink.behave(behavior)
            if behavior:
                self.faults[f"the target {behavior}"].append(lasts)
            full = self._random.random() < _FULL and self._disk is not None
            if full:
                self._fill()
                self.faults["the disk is full"].append(lasts)
            before = self._random.uniform(0, lasts)
            time.sleep(before)
            away = self._kill() if self._random.random() < _KILL else 0.0
            time.sleep(max(0.0, lasts - before - away))
            if full:
                self._filler.unlink()
            self._sink.behave()
            self._measure()

    def finish(self) -> None:
        """Have everything delivered with all faults gone, and end the processes."""
        for run in self._living:
            run.finish()
        last = self._service.start("work(3)\nsys.stdin.read()")
        self.runs.append(last)
        until = time.monotonic() + _PATIENCE
        while self._service.waiting() and time.monotonic() < until:
            time.sleep(0.2)
        last.finish()

    def _start(self) -> Run:
        run = self._service.start(_PROGRAM, RATE=str(self._rate / PROCESSES))
        self.runs.append(run)
        return run

    def _kill(self) -> float:
        """Kill a process and start it again after a while, which is returned."""
        which = self._random.randrange(PROCESSES)
        run = self._living[which]
        self._measure()
        self.killed[self.runs.index(run)] = run.kill()
        self.faults["`kill -9` of a process"].append(0.0)
        away = self._random.uniform(*_AWAY)
        time.sleep(away)
        self._living[which] = self._start()
        return away

    @property
    def _filler(self) -> Path:
        assert self._disk is not None
        return self._disk / "filler"

    def _fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def _measure(self) -> None:
        """Note the memory of the largest process so far."""
        for run in self._living:
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{run.process.pid}/status").read_text())
                self.peak_kilobytes = max(self.peak_kilobytes, int(found[1]) if found else 0)
