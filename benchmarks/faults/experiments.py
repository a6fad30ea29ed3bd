"""A traced service under a fault, its next start with the target back, and what became of its spans."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.disks import file_instead, read_only, small_disk
from tests.faults.servers import workers
from tests.faults.service import Counts, Run, Service, service
from tests.faults.sinks import FAILURES, ONCE, REFUSES, copies, failing, recover
from tests.support.otlp_server import OtlpServer
from tests.support.waiting import wait_until

#: Seconds after which a span that ended survives `kill -9`.
SAFE = 0.25
#: Seconds for the second start to send what waits.
PATIENCE = 60.0
#: What the second start does.
AGAIN = "work(3)\nsys.stdin.read()"
TIMEOUT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "300"}


@dataclass(frozen=True)
class Row:
    """What became of the spans of the first start."""

    made: int
    delivered: int
    on_disk: int
    lost: int
    duplicates: int
    exit_seconds: float | None
    #: What does not add up.
    problem: str = ""

    def cells(self) -> str:
        figures = (self.made, self.delivered, self.on_disk, self.lost, self.duplicates)
        took = "-" if self.exit_seconds is None else f"{self.exit_seconds:.2f}"
        return " | ".join([*(f"{figure:,}" for figure in figures), took])


@dataclass
class Experiment:
    """A service, its target, and how many spans it makes."""

    sink: OtlpServer
    service: Service
    spans: int
    failure: str
    is_damaged: bool = False

    def again(
        self, made: list[str], *, exit_seconds: float | None = None, counts: Counts | None = None
    ) -> Row:
        """The second start, and what became of the spans `made` by the first, whose last counts are given."""
        waiting = {*self.service.waiting()} & {*made}
        recover(self.sink, self.failure)
        run = self.service.start(AGAIN)
        expected = waiting if counts is not None or self.is_damaged else {*made}
        _patiently(lambda: copies(self.sink).keys() >= {*expected, *run.made()} and run.said("span")[2:])
        run.finish()
        found = copies(self.sink)
        lost = {*made} - found.keys() - {*self.service.waiting()}
        said = sum(counts.lost.values()) if counts is not None else run.counts().evicted.get("damaged", 0)
        problem = ""
        if run.counts().difference or (counts is not None and counts.difference):
            problem = f"the counts do not add up: {counts}, {run.counts()}"
        elif len(lost) != said:
            problem = f"{len(lost)} spans are missing, and {said} are said to be lost"
        elif counts is not None and counts.left != len(waiting):
            problem = f"{len(waiting)} spans are on disk, and {counts.left} are said to be left"
        return Row(
            len(made),
            len(found.keys() & {*made}),
            len(waiting),
            len(lost),
            sum(found[span] - 1 for span in found),
            exit_seconds,
            problem,
        )

    def until_on_disk(self, run: Run, number: int) -> None:
        """Wait until so many spans of a program are on disk."""
        wait_until(lambda: run.process.poll() is not None or len(self.service.waiting()) >= number)


def _patiently(holds: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)


@contextmanager
def experiment(place: Path, spans: int, failure: str, data: Path | None = None) -> Iterator[Experiment]:
    with failing(failure) as sink, service(place, sink.url, env=dict(TIMEOUT), data=data) as faulty:
        yield Experiment(sink, faulty, spans, failure)


def target(place: Path, spans: int, *, failure: str) -> Row:
    with experiment(place, spans, failure) as one:
        run = one.service.run(f"work({spans}, 0.0005)")
        return one.again(run.made(), exit_seconds=run.exit_seconds, counts=run.counts())


def ending(place: Path, spans: int, *, source: str, failure: str = REFUSES) -> Row:
    """A program that ends by itself, without exit handlers, once its spans are old enough."""
    with experiment(place, spans, failure) as one:
        run = one.service.run(f"work({spans}, 0.0005)\ntime.sleep({SAFE})\n{source}")
        return one.again(run.made())


def kill(place: Path, spans: int, *, failure: str = REFUSES) -> Row:
    """A program that is killed while it makes spans: those that are old enough count."""
    with experiment(place, spans, failure) as one:
        run = one.service.start("work(1_000_000, 0.0005)")
        wait_until(lambda: len(run.made()) >= spans)
        time.sleep(random.uniform(0, 0.5))
        moment = run.kill()
        return one.again(run.made(before=moment - SAFE))


def torn(place: Path, spans: int) -> Row:
    """The last record was not written completely, as after a failure of the machine."""
    with experiment(place, spans, REFUSES) as one:
        run = one.service.start(f"work({spans - 5}, 0.0005)\ntime.sleep({SAFE})\nwork(5)\nsys.stdin.read()")
        one.until_on_disk(run, spans)
        run.kill()
        made, one.is_damaged = one.service.waiting(), True
        path = max(place.rglob("*.segment"), key=lambda path: path.stat().st_mtime)
        os.truncate(path, path.stat().st_size - 10)
        return one.again(made)


def full_disk(place: Path, spans: int) -> Row:
    """A file system with room for a part, and memory for another part."""
    with small_disk(place / "disk", 300) as disk, experiment(place, spans, REFUSES, disk / "data") as one:
        one.service.env["SOMATRACE_QUEUE_BYTES"] = "256K"
        burst = "    work(20, text=os.urandom(400).hex())\n    time.sleep(0.03)"
        run = one.service.run(f"for _ in range({spans // 20}):\n{burst}")
        return one.again(run.made(), exit_seconds=run.exit_seconds, counts=run.counts())


def no_directory(place: Path, spans: int, *, unusable: Callable[[Path], object], failure: str) -> Row:
    with unusable(place / "data"), experiment(place, spans, failure) as one:  # type: ignore[attr-defined]
        run = one.service.run(f"work({spans}, 0.0005)")
        return one.again(run.made(), exit_seconds=run.exit_seconds, counts=run.counts())


def fork(place: Path, spans: int) -> Row:
    """The parent is killed, and its child lives on until the next start has sent everything."""
    with experiment(place, spans, REFUSES) as one:
        run = one.service.start(
            f"work({spans})\nif not os.fork():\n    work({spans})\n    sys.stdin.read()\n    sys.exit(0)\n"
            "time.sleep(600)"
        )
        one.until_on_disk(run, 2 * spans)
        made = run.made(pid=run.process.pid)
        run.process.kill()
        run.process.wait()
        row = one.again(made)
        run.finish()
        return row


def siblings(place: Path, spans: int) -> Row:
    """One of two processes is killed; the other one and three new ones look for what it left."""
    with experiment(place, spans, REFUSES) as one:
        dead, living = (one.service.start(f"work({spans})\nsys.stdin.read()") for _ in range(2))
        one.until_on_disk(dead, 2 * spans)
        dead.kill()
        later = [one.service.start(AGAIN) for _ in range(2)]
        row = one.again([*dead.made(), *living.made()])
        for run in (living, *later):
            run.finish()
        return row


def gunicorn(place: Path, spans: int) -> Row:
    """Two preloaded workers and their parent are killed at once."""
    with experiment(place, spans, REFUSES) as one:
        with workers(one.service) as (request, server):
            made = [request() for _ in range(max(20, spans // 20))]
            wait_until(lambda: len(one.service.waiting()) == len(made))
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        return one.again(made)


def others(place: Path, spans: int, *, change: str) -> Row:
    """The next start is that of another service, or of the same one with another target."""
    with experiment(place, spans, REFUSES) as one, failing("") as elsewhere:
        run = one.service.run(f"work({spans}, 0.0005)")
        if change == "name":
            one.service.name = "another"
        else:
            one.service.url = elsewhere.url
        second = one.service.start(AGAIN)
        recover(one.sink, REFUSES)
        sink = one.sink if change == "name" else elsewhere
        _patiently(lambda: copies(sink).keys() >= {*second.made()} and second.said("span")[2:])
        second.finish()
        found, waiting = copies(one.sink) + copies(elsewhere), one.service.waiting()
        lost = {*run.made()} - found.keys() - {*waiting}
        return Row(spans, len(found.keys() & {*run.made()}), len(waiting), len(lost), 0, run.exit_seconds)


FAULTS: dict[str, Callable[[Path, int], Row]] = {
    "none": partial(target, failure=""),
    **{f"the target {failure}": partial(target, failure=failure) for failure in (REFUSES, *FAILURES, *ONCE)},
    "`kill -9`, the target refuses connections": kill,
    "`kill -9`, the target accepts": partial(kill, failure=""),
    "`os._exit`": partial(ending, source="os._exit(0)"),
    "SIGTERM, default handler": partial(ending, source="os.kill(os.getpid(), signal.SIGTERM)"),
    "`kill -9`, the last record is torn": torn,
    "the disk is full": full_disk,
    "a file in place of the directory": partial(no_directory, unusable=file_instead, failure=""),
    "a read-only file system": partial(no_directory, unusable=read_only, failure=""),
    "a read-only file system, the target refuses": partial(no_directory, unusable=read_only, failure=REFUSES),
    "`kill -9` of a parent, its child lives": fork,
    "`kill -9` of one of two processes": siblings,
    "`kill -9` of gunicorn and its workers": gunicorn,
    "the next start is another service": partial(others, change="name"),
    "the next start has another target": partial(others, change="target"),
}
