"""Measure the startup cost of somatrace against the stock SDK and `Traceloop.init`.

Every case runs in a fresh interpreter, cases alternate, and the table shows medians: CPU is user plus system
time of the whole process including its exit, memory the peak resident set. Absolute figures differ between
machines; the limits apply to the ratios below the table. Exits with 1 if one of them is missed.

    python benchmarks/start.py [--rounds 7]

Spans go to a sink on loopback. Every proxy variable points to a closed port, so nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Runs last in the measured process. Reads VmHWM, since a child's ru_maxrss starts at its parent's value.
REPORT_MEMORY = """
import atexit as _atexit, os as _os
def _report():
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM"))
    _os.write(3, peak.encode())
_atexit.register(_report)
"""

STOCK = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""
STOCK_SPAN = """
with trace.get_tracer("bench").start_as_current_span("work"):
    pass
provider.force_flush()
"""
OURS = """
from somatrace import init_tracing
init_tracing("bench")
"""
OURS_SPAN = """
from somatrace import flush, span
with span("work"):
    pass
flush(5)
"""
TRACELOOP = """
from traceloop.sdk import Traceloop
Traceloop.init("bench")
"""
TRACELOOP_SPAN = """
from opentelemetry import trace
with trace.get_tracer("bench").start_as_current_span("work"):
    pass
trace.get_tracer_provider().force_flush()
"""
OPENAI = "import openai\n"


@dataclass(frozen=True)
class Case:
    """One measured process: its code and environment; `{sink}` is replaced by the sink's address."""

    name: str
    code: str
    environ: dict[str, str] = field(default_factory=dict)
    sends: bool = False


OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}"}
LANGFUSE = {
    "LANGFUSE_HOST": "{sink}",
    "LANGFUSE_PUBLIC_KEY": "pk-lf-bench",
    "LANGFUSE_SECRET_KEY": "sk-lf-bench",
}
TRACELOOP_ENV = {
    "TRACELOOP_BASE_URL": "{sink}",
    "TRACELOOP_API_KEY": "bench",
    "TRACELOOP_METRICS_ENABLED": "false",
    "TRACELOOP_TRACE_CONTENT": "false",
}

BARE = Case("bare Python", "")
STOCK_START = Case("stock SDK, OTLP/HTTP, BatchSpanProcessor", STOCK, OTLP)
OURS_LOCAL = Case("init_tracing, nothing configured", OURS)
OURS_LANGFUSE = Case("init_tracing, Langfuse target", OURS, LANGFUSE)
JUST_OPENAI = Case("import openai", OPENAI)
OURS_OPENAI = Case("import openai, init_tracing", OPENAI + OURS, LANGFUSE)
TRACELOOP_OPENAI = Case("import openai, Traceloop.init", OPENAI + TRACELOOP, TRACELOOP_ENV)
CASES = (
    BARE,
    STOCK_START,
    OURS_LOCAL,
    OURS_LANGFUSE,
    Case("stock SDK, one span flushed", STOCK + STOCK_SPAN, OTLP, sends=True),
    Case("init_tracing, nothing configured, one span flushed", OURS + OURS_SPAN),
    Case("init_tracing, Langfuse target, one span flushed", OURS + OURS_SPAN, LANGFUSE, sends=True),
    JUST_OPENAI,
    OURS_OPENAI,
    TRACELOOP_OPENAI,
    Case("import openai, init_tracing, one span flushed", OPENAI + OURS + OURS_SPAN, LANGFUSE, sends=True),
    Case(
        "import openai, Traceloop.init, one span flushed",
        OPENAI + TRACELOOP + TRACELOOP_SPAN,
        TRACELOOP_ENV,
        sends=True,
    ),
)


@dataclass
class Cost:
    """Medians over the rounds: CPU in milliseconds, resident memory in MB."""

    cpu_runs: list[float] = field(default_factory=list)
    memory_runs: list[float] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_runs)

    @property
    def memory(self) -> float:
        return statistics.median(self.memory_runs)


class Sink(BaseHTTPRequestHandler):
    """Accepts every POST; GET returns the number accepted."""

    protocol_version = "HTTP/1.1"
    received = 0

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("content-length", 0)))
        Sink.received += 1
        self.answer(b"")

    def do_GET(self) -> None:
        self.answer(str(Sink.received).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def sink() -> Iterator[str]:
    """Run a sink in a separate process, so that its work is not measured, and yield its address."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def received(address: str) -> int:
    with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310, our own sink
        return int(answer.read())


def environment(case: Case, address: str, directory: str) -> dict[str, str]:
    closed = "http://127.0.0.1:9"
    base = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": directory,
        "SOMATRACE_DATA_DIR": directory,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_PROXY": "127.0.0.1",
        "HTTP_PROXY": closed,
        "HTTPS_PROXY": closed,
    }
    return base | {name: value.format(sink=address) for name, value in case.environ.items()}


def run(case: Case, address: str) -> tuple[float, float]:
    """CPU milliseconds and peak memory in MB of one process."""
    before = received(address)
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as directory:
        errors = Path(directory, "stderr")
        command = ["sh", "-c", 'exec "$0" -c "$1" 3>&"$2" >/dev/null 2>"$3"']
        command += [sys.executable, REPORT_MEMORY + case.code, str(writing), str(errors)]
        process = subprocess.Popen(
            command, env=environment(case, address, directory), cwd=directory, pass_fds=[writing]
        )
        os.close(writing)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with os.fdopen(reading) as report:
            memory = report.read().split()
        if process.returncode or not memory:
            raise SystemExit(f"{case.name}: exit {process.returncode}\n{errors.read_text()}")
    if case.sends and received(address) == before:
        raise SystemExit(f"{case.name}: the span did not arrive")
    return (usage.ru_utime + usage.ru_stime) * 1000, int(memory[1]) / 1024


def measure(rounds: int) -> dict[str, Cost]:
    costs = {case.name: Cost() for case in CASES}
    with sink() as address:
        for number in range(int(rounds == 1), rounds + 1):
            print(f"\rround {number} of {rounds}", end="", file=sys.stderr, flush=True)
            for case in CASES:
                cpu, memory = run(case, address)
                if number:  # round 0 compiles bytecode; a single round shows only that every case works
                    costs[case.name].cpu_runs.append(cpu)
                    costs[case.name].memory_runs.append(memory)
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    return costs


def bars(costs: dict[str, Cost]) -> list[tuple[str, float, float]]:
    """The limits: name, measured ratio, maximum ratio."""
    stock, openai = costs[STOCK_START.name], costs[JUST_OPENAI.name]
    ours, traceloop = costs[OURS_OPENAI.name], costs[TRACELOOP_OPENAI.name]
    return [
        ("init_tracing, nothing configured / stock SDK: CPU", costs[OURS_LOCAL.name].cpu / stock.cpu, 1.0),
        ("init_tracing, Langfuse target / stock SDK: CPU", costs[OURS_LANGFUSE.name].cpu / stock.cpu, 1.0),
        (
            "above import openai, init_tracing / Traceloop.init: CPU",
            (ours.cpu - openai.cpu) / (traceloop.cpu - openai.cpu),
            1 / 3,
        ),
        (
            "above import openai, init_tracing / Traceloop.init: memory",
            (ours.memory - openai.memory) / (traceloop.memory - openai.memory),
            1 / 3,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="measured runs of each case (default 7)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    costs = measure(max(1, options.rounds))
    print("| process | CPU ms | from | to | peak memory MB |\n|---|---:|---:|---:|---:|")
    for name, cost in costs.items():
        runs = cost.cpu_runs
        print(f"| {name} | {cost.cpu:.0f} | {min(runs):.0f} | {max(runs):.0f} | {cost.memory:.1f} |")
    print("\n| promise | ratio | at most | |\n|---|---:|---:|---|")
    results = bars(costs)
    for name, ratio, most in results:
        print(f"| {name} | {ratio:.2f} | {most:.2f} | {'kept' if ratio <= most else 'MISSED'} |")
    return int(any(ratio > most for _, ratio, most in results))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
