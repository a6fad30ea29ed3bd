"""Measure the cost of one span in a running service against the stock SDK with a BatchSpanProcessor.

Every case runs in a fresh interpreter and creates the same workflows at the same rate: a root, two steps and
two model calls with the attributes that an instrumentor sets. `caller` is the CPU of the thread that creates
the spans, `process` that of all threads until the last span has arrived, both in microseconds per span minus
those of the same program without tracing. Cases alternate and the table shows medians. Absolute figures
differ between machines; compare the ratios to the stock SDK.

    python benchmarks/hot_path.py [--rounds 5] [--spans 6000] [--rate 3000]

Spans go to a sink on loopback in another process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from start import LANGFUSE, OTLP, received, sink

WORK = """
import json, sys, time
spans, rate = int(sys.argv[1]), float(sys.argv[2])
CALL = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.request.temperature": 0.2, "gen_ai.request.max_tokens": 400, "gen_ai.is_streaming": False,
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18", "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.openai.api_base": "http://127.0.0.1:8400/v1/", "server.port": 8400,
}
USED = {"gen_ai.usage.input_tokens": 812, "gen_ai.usage.output_tokens": 97, "gen_ai.usage.total_tokens": 909}
TENANTS = ("acme", "globex", "initech")

def workflow(number):
    with tenant(number), tracer.start_as_current_span("answer"):
        for step in ("plan", "write"):
            with tracer.start_as_current_span(step) as current:
                current.set_attribute("step.number", number)
                with tracer.start_as_current_span("openai.chat", kind=trace.SpanKind.CLIENT) as call:
                    for key, value in CALL.items():
                        call.set_attribute(key, value)
                    call.set_attribute("gen_ai.response.id", f"chatcmpl-{number}")
                    call.set_attributes(USED)

def run():
    for number in range(100):
        workflow(number)
    arrive()
    cpu, own, began = time.process_time(), time.thread_time(), time.monotonic()
    for number in range(spans // 5):
        workflow(number)
        ahead = (number + 1) * 5 / rate - (time.monotonic() - began)
        if ahead > 0.002:
            time.sleep(ahead)
    own = time.thread_time() - own
    arrive()
    made = spans // 5 * 5
    print(json.dumps({"caller": own / made * 1e6, "process": (time.process_time() - cpu) / made * 1e6}))

run()
"""
NONE = """
import contextlib
from opentelemetry import trace
tracer = trace.get_tracer("bench")
tenant = lambda number: contextlib.nullcontext()
arrive = lambda: None
"""
STOCK = """
import contextlib
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
exporter = OTLPSpanExporter(compression=Compression.Gzip)
provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=16384))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("bench")
tenant = lambda number: contextlib.nullcontext()
arrive = provider.force_flush
"""
OURS = """
from opentelemetry import trace
from somatrace import bind, flush, init_tracing
init_tracing("bench")
tracer = trace.get_tracer("bench")
tenant = lambda number: bind(tenant_id=TENANTS[number % 3], workflow_name="answer", request_id=f"r-{number}")
arrive = lambda: flush(60)
"""
CASES = {
    "without tracing": (NONE, {}),
    "stock SDK, OTLP/HTTP gzip, BatchSpanProcessor": (STOCK, OTLP),
    "init_tracing, OTLP target": (OURS, OTLP),
    "init_tracing, Langfuse target": (OURS, LANGFUSE),
    "init_tracing, local store": (OURS, {}),
}
BASE, REFERENCE = list(CASES)[:2]


def run(name: str, address: str, spans: int, rate: float) -> dict[str, float]:
    """CPU microseconds per span in one process."""
    setup, variables = CASES[name]
    before = received(address)
    with tempfile.TemporaryDirectory() as directory:
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": directory, "SOMATRACE_DATA_DIR": directory}
        environ |= {key: value.format(sink=address) for key, value in variables.items()}
        environ |= {key: value for key, value in os.environ.items() if key == "PYTHONPATH"}
        command = [sys.executable, "-c", setup + WORK, str(spans), str(rate)]
        done = subprocess.run(
            command, env=environ, cwd=directory, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}\n{done.stderr}")
    if variables and received(address) == before:
        raise SystemExit(f"{name}: no span arrived")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured runs of each case (default 5)")
    parser.add_argument("--spans", type=int, default=6000, help="spans in each run (default 6000)")
    parser.add_argument("--rate", type=float, default=3000, help="spans per second (default 3000)")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    with sink() as address:
        for number in range(options.rounds):
            print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
            for name in CASES:
                runs[name].append(run(name, address, options.spans, options.rate))
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    medians = {
        name: {what: statistics.median(run[what] for run in of) for what in ("caller", "process")}
        for name, of in runs.items()
    }
    above = {
        name: {what: cost[what] - medians[BASE][what] for what in cost} for name, cost in medians.items()
    }
    print("| program | caller µs/span | process µs/span | caller, ratio | process, ratio |")
    print("|---|---:|---:|---:|---:|")
    for name, cost in above.items():
        if name != BASE:
            ratios = " | ".join(f"{cost[what] / above[REFERENCE][what]:.2f}" for what in cost)
            print(f"| {name} | {cost['caller']:.1f} | {cost['process']:.1f} | {ratios} |")
    print(f"\n`{BASE}` itself: {medians[BASE]['caller']:.1f} µs per would-be span, taken off above.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
