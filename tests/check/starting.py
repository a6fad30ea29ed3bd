"""Start a tree's launcher for real and report the outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.check.corpus import Sample

STANDINS = Path(__file__).resolve().parent / "standins"
#: Findings about names, content and other pipelines show in no run; the tree itself is traced.
SILENT = {"ST010", "ST011", "ST020", "ST021", "ST022", "ST030", "ST091"}
#: What no run can show.
UNPROVED = {"ST040", "ST041", "ST042", "ST090"}
ALTERNATIVES: tuple[dict[str, str], ...] = (
    {},
    {"TRACING": "1", "T": "1", "R": "eu"},
    {"TRACING": "0"},
    {"WITHOUT_SOMATRACE": "1"},
    {"PYTHONOPTIMIZE": "1"},
    {"WITHOUT_UVLOOP": "1"},
)


#: The time that a command has until it serves, and from then on until it ends.
START_SECONDS, END_SECONDS = 40.0, 10.0


@dataclass(frozen=True)
class Happened:
    """The events of one process that served, or that ended without."""

    events: tuple[str, ...]
    failed: bool

    @property
    def served(self) -> bool:
        return "serving" in self.events

    @property
    def before(self) -> tuple[str, ...]:
        return self.events[: self.events.index("serving")] if self.served else self.events

    def verdict(self) -> str:
        """The code that this run speaks for."""
        inits = self.before.count("init")
        if self.failed and not self.served:
            return "ST000"
        if inits > 1:
            return "ST007"
        if inits == 1:
            first = self.before.index("init")
            return "ST005" if "client" in self.before[:first] else "ok"
        return "ST004" if "init" in self.events or "late" in self.events else "ST001"


def commands(sample: Sample) -> list[str]:
    """The processes of a tree as shell commands: its Procfile's, or what `.run` says that its image runs,
    with a line of its own for what a shell puts in the background.
    """
    if ".run" in sample.files:
        return [line for line in sample.files[".run"].splitlines() if line]
    entries = [line.partition(":") for line in sample.files.get("Procfile", "").splitlines()]
    return [command.strip() for name, _, command in entries if name not in {"release", "migrate"}]


def start(command: str, folder: Path, extra: dict[str, str], record: Path) -> list[Happened]:
    """Run one command until it serves or ends: the processes of it that served, or all when none did.

    Once one serves, the others are steps before it, supervisors of its workers, helpers of multiprocessing.
    """
    record.mkdir()
    environ = {
        "PATH": f"{STANDINS / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(STANDINS),
        "STANDINS": str(STANDINS),
        "RECORD_TO": str(record),
        "HOME": str(record),
        "CELERY_BROKER_URL": "memory://",
        "PYTHONDONTWRITEBYTECODE": "1",
        "UVICORN_PORT": "0",
        "KEY": "1",
        "OTHER": "1",
        "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:0 --workers=1 --worker-class=sync",
        **extra,
    }
    process = subprocess.Popen(
        ["sh", "-c", command],
        cwd=folder,
        env=environ,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + START_SECONDS
    try:
        while (status := process.poll()) is None and time.monotonic() < until:
            if any(events for events in _recorded(record) if "serving" in events):
                until = min(until, time.monotonic() + END_SECONDS)
            time.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    failed = status not in (0, None)
    happened = [Happened(tuple(events), failed) for events in _recorded(record)]
    return [one for one in happened if one.served] or happened or [Happened((), failed)]


def _recorded(record: Path) -> list[list[str]]:
    """The events of every process that wrote down some, which appear whole."""
    return [json.loads(path.read_text())["events"] for path in record.glob("*.json")]


def observed(sample: Sample, folder: Path, record: Path) -> list[str]:
    """The verdicts of every process of the tree, in every circumstance that its label speaks of."""
    code = sample.expected.partition(" ")[0]
    circumstances = ALTERNATIVES if code == "ST003" else ALTERNATIVES[:1]
    found = []
    for number, extra in enumerate(circumstances):
        for index, command in enumerate(commands(sample)):
            found += [one.verdict() for one in start(command, folder, extra, record / f"{number}-{index}")]
    return found
