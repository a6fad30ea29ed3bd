"""A traced service in processes of its own, what it notes about its spans, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from somatrace.delivery.journal_directory import UNSENT
from somatrace.delivery.restricted import unpacked
from somatrace.spool.segment_format import DONE, HEADER_SIZE, RESTRICTED_SPANS, SPANS, positions_in
from somatrace.spool.segment_reader import records
from somatrace.spool.spool_directory import SEGMENT
from tests.support.programs import otlp_env
from tests.support.waiting import HANG, wait_until

#: Before the source of every program: `work` makes spans and notes each one after its end, in a file that
#: survives the process; `note_status` notes the counts, as the end of the process does after tracing's own.
HEADER = """
import atexit, json, os, signal, sys, threading, time

notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND)

def note(kind, value):
    os.write(notes, json.dumps([kind, os.getpid(), time.monotonic(), value]).encode() + b"\\n")

def note_status():
    now = status()
    fields = "created", "taken_over", "delivered", "queued_spans", "on_disk", "left", "resent_ambiguous"
    more = {"lost": dict(now.lost), "evicted": dict(now.evicted), "problems": now.problems}
    more["unclean_stops"] = now.unclean_stops
    more["tenants"] = {name: vars(one) for name, one in now.tenants.items()}
    note("status", {name: getattr(now, name) for name in fields} | more)

atexit.register(note_status)

from opentelemetry.trace import get_current_span
from somatrace import *

init_tracing(os.environ["SERVICE"])

def work(number, pause=0.0, **fields):
    for _ in range(number):
        with span("work", **fields):
            span_id = get_current_span().get_span_context().span_id
        note("span", f"{span_id:016x}")
        if "tenant_id" in bound():
            note("tenant", [f"{span_id:016x}", bound()["tenant_id"]])
        time.sleep(pause)

def wait_until(holds):
    until = time.monotonic() + 60
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
"""


@dataclass(frozen=True)
class Counts:
    """What `status()` said in one process."""

    created: int
    taken_over: int
    delivered: int
    queued_spans: int
    on_disk: int
    left: int
    resent_ambiguous: int
    lost: Mapping[str, int]
    evicted: Mapping[str, int]
    problems: tuple[str, ...]
    unclean_stops: int
    #: The fields of `TenantSpans` by tenant.
    tenants: Mapping[str, Mapping[str, Any]]

    @property
    def difference(self) -> int:
        """Spans that the counts do not explain, which are none."""
        known = self.delivered + self.queued_spans + self.left + sum(self.lost.values())
        return self.created + self.taken_over - known

    def of_tenants(self, field: str) -> Counter[str]:
        """A count by tenant, of losses for all reasons."""
        found = {name: one[field] for name, one in self.tenants.items()}
        return +Counter({name: sum(one.values()) if field == "lost" else one for name, one in found.items()})


@dataclass
class Run:
    """One start of the service. Read its notes as often as you like, also after `kill -9`."""

    process: subprocess.Popen[str]
    notes: Path
    output: str = ""
    errors: str = ""
    ended: float = 0.0

    def _noted(self, kind: str) -> Iterator[tuple[int, float, Any]]:
        # A line that crosses a page is not written at once; its rest follows, or never does after `kill -9`.
        complete, _, _ = self.notes.read_text().rpartition("\n")
        for line in complete.splitlines():
            found, pid, moment, value = json.loads(line)
            if found == kind:
                yield pid, moment, value

    def made(self, *, before: float = float("inf"), pid: int | None = None) -> list[str]:
        """The ids of spans that had ended at a moment, in all processes of the program or in one."""
        return [span for one, moment, span in self._noted("span") if moment <= before and pid in (None, one)]

    def tenants(self, *, before: float = float("inf")) -> dict[str, str]:
        """The tenants of the spans that had one, by id."""
        return {span: tenant for _, moment, (span, tenant) in self._noted("tenant") if moment <= before}

    def counts(self, pid: int | None = None) -> Counts:
        """The last counts that a process noted; without `pid`, that which was started."""
        wanted = self.process.pid if pid is None else pid
        found = [value for one, _, value in self._noted("status") if one == wanted]
        assert found, f"no counts of {wanted}:\n{self.errors}"
        return Counts(**found[-1])

    def said(self, kind: str) -> list[Any]:
        """What the program noted with `note(kind, …)`."""
        return [value for _, _, value in self._noted(kind)]

    def moments(self, kind: str) -> list[float]:
        """When the program noted a kind of thing."""
        return [moment for _, moment, _ in self._noted(kind)]

    def wait_for(self, kind: str) -> Any:
        """Wait for a note, and return its value."""
        return wait_until(lambda: self.process.poll() is not None or self.said(kind)) and self.said(kind)[-1]

    def kill(self, number: int = signal.SIGKILL) -> float:
        """Send a signal and wait for the end; return the moment just before."""
        moment = time.monotonic()
        self.process.send_signal(number)
        self.finish()
        return moment

    def finish(self) -> Run:
        """Close the standard input, which programs may wait for, and wait for the end."""
        self.output, self.errors = self.process.communicate(timeout=3 * HANG)
        self.ended = time.monotonic()
        return self

    @property
    def exit_seconds(self) -> float:
        """From the last line of the program to the end of its process."""
        [moment] = self.moments("end")
        return self.ended - moment


@dataclass
class Service:
    """A service with a target and a data directory, started as often as you like."""

    place: Path
    url: str
    name: str = "faults"
    env: dict[str, str] = field(default_factory=dict)
    data: Path | None = None
    _started: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = self.data or self.place / "data"

    def start(self, source: str, *, first: str = "", **env: str) -> Run:
        """Start a program. It notes its end unless it ends otherwise than by its last line.

        `first` runs before tracing is imported.
        """
        number = len(list(self.place.glob("notes-*")))
        script, notes = self.place / f"program-{number}.py", self.place / f"notes-{number}"
        script.write_text(first + HEADER + textwrap.dedent(source) + "\nnote('end', 0)\n")
        notes.touch()
        given = {
            "NOTES": str(notes),
            "SERVICE": self.name,
            "SOMATRACE_DATA_DIR": str(self.data),
            "PYTHONPATH": os.pathsep.join(sys.path),
            **otlp_env(self.url),
            **self.env,
            **env,
        }
        process = subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, **given},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.place,
        )
        self._started.append(Run(process, notes))
        return self._started[-1]

    def run(self, source: str, **env: str) -> Run:
        """Start a program and wait for its end."""
        return self.start(source, **env).finish()

    def waiting(self) -> list[str]:
        """The ids of the spans that wait on disk, read from the segments, of all services and targets."""
        assert self.data is not None
        return [
            span
            for path in sorted(self.data.glob(f"{UNSENT}/*/spool/*{SEGMENT}"))
            for span in _waiting_in(path)
        ]

    def close(self) -> None:
        """End what still runs."""
        for run in self._started:
            if run.process.poll() is None:
                run.kill()


@contextmanager
def service(place: Path, url: str, **more: Any) -> Iterator[Service]:
    """A service whose processes end with the block."""
    running = Service(place, url, **more)
    try:
        yield running
    finally:
        running.close()


def _waiting_in(path: Path) -> list[str]:
    """The ids in those records of a segment that are not marked as done."""
    bodies: dict[int, bytes] = {}
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        for record in records(descriptor, complete=False):
            if record.header is None or record.payload is None:
                continue
            position = record.end - record.header.length - HEADER_SIZE
            if record.header.kind == SPANS:
                bodies[position] = record.payload
            elif record.header.kind == RESTRICTED_SPANS:
                bodies[position] = unpacked(record.payload)[0]
            elif record.header.kind == DONE:
                for done in positions_in(record.payload):
                    bodies.pop(done, None)
    finally:
        os.close(descriptor)
    return [
        span.span_id.hex()
        for body in bodies.values()
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
