"""Run a client's cases in a separate process and search all of its output for canaries."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somatrace import semconv
from somatrace.local.ingest.fresh_store import FreshStore
from tests.leak_matrix.canary import Canary, found, load
from tests.support.otlp_server import Received, otlp_server
from tests.support.waiting import HANG

ROOT = Path(__file__).resolve().parents[2]
#: By mode, the kinds of canaries that must be found nowhere.
FORBIDDEN = {
    "none": {"word", "email", "card", "key"},
    "unbound": {"word", "email", "card", "key"},
    "redacted": {"email", "card", "key"},
    "full": {"key"},
}
#: What must not be sent to a model provider.
_TRACING = {
    "baggage",
    semconv.HEADER_CORRELATION,
    semconv.HEADER_REQUEST,
    semconv.HEADER_TAGS,
    semconv.HEADER_TRACEPARENT,
    semconv.HEADER_TRACESTATE,
}
_POLICY = """
default: none
tenants:
  masked: {{content: redacted}}
  open: {{content: full, until: {until}, reason: leak matrix}}
"""


@dataclass(frozen=True)
class Leak:
    """A canary, and the output that contained it."""

    place: str
    canary: Canary

    def __str__(self) -> str:
        one = self.canary
        return f"{self.place}: {one.kind} of {one.field} in {one.case} under {one.tenant}"


@dataclass
class Run:
    """The outputs of one process."""

    report: dict[str, Any]
    recorded: list[dict[str, Any]]
    canaries: dict[str, Canary]
    places: dict[str, bytes]
    spans: list[Received]

    def leaks(self, *, closed: bool = False) -> list[Leak]:
        """Canaries in the output that must not be there; if everything is `closed`, any canary."""
        leaks = []
        for place, data in self.places.items():
            for needle in sorted(found(data)):
                canary = self.canaries.get(needle)
                if canary is not None and (closed or canary.kind in FORBIDDEN[canary.tenant]):
                    leaks.append(Leak(place, canary))
        return leaks

    def told(self) -> list[str]:
        """Headers of tracing that requests had, by case."""
        told = set()
        for case, text in self.report["sent"]:
            names = {line.partition(":")[0].lower() for line in text.splitlines()}
            told |= {f"{name} in {case}" for name in names & _TRACING}
        return sorted(told)

    def missing(self, mode: str, place: str = "socket") -> list[str]:
        """The fields that an opted-in tenant's spans should contain but that are missing in an output."""
        data = b"".join(data for name, data in self.places.items() if name.startswith(place))
        came = {self.canaries[needle] for needle in found(data) if needle in self.canaries}
        return [
            f"{field} of {case}"
            for case, fields in self.report["cases"].items()
            for field in fields
            if Canary(mode, case, field, "word") not in came
        ]


def run(client: str, directory: Path, order: str, *, python: Path = Path(sys.executable), **env: str) -> Run:
    """Run the cases of `client` with the tenants of the harness: none, redacted, full, and unbound."""
    policy = directory / "policy.yaml"
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    policy.write_text(_POLICY.format(until=until))
    with otlp_server() as server, otlp_server() as second:
        done = subprocess.run(
            [python, "-m", "tests.leak_matrix.harness", client, str(directory), order],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONWARNINGS": "ignore",
                "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
                "SOMATRACE_CONTENT_POLICY_FILE": str(policy),
                "SOMATRACE_DATA_DIR": str(directory / "data"),
                "SOMATRACE_MAX_LATENCY_MS": "0",  # the recording processors exceed any budget
                "MATRIX_SECOND": second.url,
                **env,
            },
            capture_output=True,
            timeout=280,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-6000:]}")
        places = {
            "socket": server.bytes + str(server.headers).encode(),
            "second backend": second.bytes + str(second.headers).encode(),
            "stdout": done.stdout,
            "stderr": done.stderr,
            **dict(_files(directory)),
        }
        spans = list(server.spans)
    return Run(
        report=json.loads((directory / "report.json").read_text()),
        recorded=json.loads((directory / "recorded.json").read_text()),
        canaries=load((directory / "canaries.json").read_text()),
        places=places,
        spans=spans,
    )


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    for name in ("third_party.txt", "records.txt", "status.txt"):
        yield name, (directory / name).read_bytes()
    data = directory / "data"
    segments = sorted((data / "spool").glob("*.segment"))
    if segments:
        yield "disk: segments", b"".join(path.read_bytes() for path in segments)
        with closing(FreshStore(data, patience=HANG)) as store:
            store.segments.run(HANG)
    for path in sorted(data.rglob("*")):
        if path.is_file():
            yield f"disk: {path.name}", path.read_bytes()
