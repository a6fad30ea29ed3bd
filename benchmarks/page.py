"""Measure the page's latency and memory over a large store while spans keep arriving.

The store contains workflows of twelve spans and three traces of 10,000. `somatrace local` serves it, a second
process sends spans over HTTP at a steady rate, and a client requests one page after another. Times run from
the request to the last byte of the response over loopback, slightly more than the server's own time. The
three large traces alternate, and the server caches one tree, so each is rebuilt. When the sender has stopped,
a real Chromium opens each page five times in a fresh context with an empty cache to measure largest
contentful paint, tasks of more than 50 ms, and nodes. Exits with 1 if a limit is missed.

    python benchmarks/page.py [--spans 1000000] [--rate 5000] [--rounds 60]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from somatrace.local.otlp.decode import DecodedSpan, SpanOrigin
from somatrace.local.store.store import Store

#: Limits: milliseconds at the 95th percentile, and megabytes.
LIST, OVERVIEW, TRACE, MEMORY = 50.0, 50.0, 150.0, 100.0
#: Browser limits: milliseconds to the largest contentful paint, and nodes; no task over 50 ms.
LCP, NODES = 500.0, 10_000
SECOND = 1_000_000_000
PER_TRACE, LARGE, BATCH = 12, 10_000, 512
ORIGINS = [
    SpanOrigin({"service.name": name, "service.version": "1.4.2"}, "somatrace", "0.1.0", {})
    for name in ("gateway-api", "orchestrator", "recall-service", "slm-service")
]
TENANTS = [f"tenant-{number:02}" for number in range(20)]
WORKFLOWS = ["answer-question", "triage-ticket", "summarise"]


def attributes(rng: random.Random, tenant: str, workflow: str, number: int) -> dict[str, object]:
    common: dict[str, object] = {
        "langfuse.trace.name": workflow,
        "langfuse.trace.metadata.tenant_id": tenant,
        "langfuse.trace.metadata.workflow_name": workflow,
        "tenant_id": tenant,
        "workflow_name": workflow,
        "agent_id": "planner",
    }
    if number % 4 == 3:
        common |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": f"small-{number % 3}",
            "gen_ai.usage.input_tokens": rng.randrange(50, 3000),
            "gen_ai.usage.output_tokens": rng.randrange(10, 400),
        }
    return common


def workflow(rng: random.Random, start: int) -> Iterator[DecodedSpan]:
    tenant, name = rng.choice(TENANTS), rng.choice(WORKFLOWS)
    trace_id, ids = f"{rng.getrandbits(128):032x}", [f"{rng.getrandbits(64):016x}" for _ in range(PER_TRACE)]
    length, failed = int(rng.lognormvariate(0, 0.7) * SECOND), rng.random() < 0.03
    for number, span_id in enumerate(ids):
        share = 1 if not number else rng.uniform(0.05, 0.6)
        begin = start + int(length * (1 - share) * rng.random())
        yield DecodedSpan(
            origin=ORIGINS[number % 4],
            trace_id=trace_id,
            span_id=span_id,
            parent_id=ids[(number - 1) // 3] if number else None,
            name=name if not number else f"step {number}",
            kind=1,
            start_ns=begin,
            end_ns=begin + int(length * share),
            status=2 if failed and number in (0, 4) else 0,
            status_message="the upstream did not answer" if failed and number in (0, 4) else "",
            attributes=attributes(rng, tenant, name, number),
        )


def large(rng: random.Random, start: int) -> list[DecodedSpan]:
    trace_id, ids = f"{rng.getrandbits(128):032x}", [f"{rng.getrandbits(64):016x}" for _ in range(LARGE)]
    return [
        DecodedSpan(
            origin=ORIGINS[number % 4],
            trace_id=trace_id,
            span_id=span_id,
            parent_id=ids[(number - 1) // 30] if number else None,
            name=f"document {number}",
            kind=1,
            start_ns=start + number * 1000,
            end_ns=start + (60 * SECOND if number < 340 else rng.randrange(SECOND)),
            status=2 if number % 3333 == 3332 else 0,
            status_message="not UTF-8" if number % 3333 == 3332 else "",
            attributes=attributes(rng, "tenant-00", "nightly-index", number),
        )
        for number, span_id in enumerate(ids)
    ]


def fill(directory: Path, spans: int) -> list[str]:
    """Write `spans` spans of the last day and return the ids of the large traces."""
    rng = random.Random(1)
    store = Store(directory, max_bytes=1 << 40)
    now = time.time_ns()
    began = time.perf_counter()
    traces = spans // PER_TRACE
    batch: list[DecodedSpan] = []
    for number in range(traces):
        batch.extend(workflow(rng, now - (traces - number) * 86_000 * SECOND // traces))
        if len(batch) >= BATCH or number == traces - 1:
            store.add(batch)
            batch = []
    took = time.perf_counter() - began
    found = [large(rng, now - hours * 3600 * SECOND) for hours in (1, 2, 3)]
    for many in found:
        store.add(many)
    store.close()
    print(
        f"filled {traces * PER_TRACE:,} spans in {took:.0f} s: {traces * PER_TRACE / took:,.0f} spans/s",
        flush=True,
    )
    return [many[0].trace_id for many in found]


SENDER = "sender"


def send(url: str, authorization: str, rate: int) -> None:
    """Send `rate` spans per second until stopped; print the accepted rate once per second."""
    rng = random.Random()
    began, sent, printed = time.perf_counter(), 0, 0.0
    with httpx.Client(headers={"Authorization": authorization}, timeout=30) as client:
        while True:
            body = encoded(
                [span for _ in range(BATCH // PER_TRACE) for span in workflow(rng, time.time_ns())]
            )
            answer = client.post(
                f"{url}/v1/traces", content=body, headers={"Content-Type": "application/x-protobuf"}
            )
            sent += BATCH // PER_TRACE * PER_TRACE if answer.status_code == 200 else 0
            elapsed = time.perf_counter() - began
            if elapsed - printed >= 1:
                print(f"{sent / elapsed:.0f}", flush=True)
                printed = elapsed
            time.sleep(max(0.0, sent / rate - elapsed))


def encoded(spans: list[DecodedSpan]) -> bytes:
    request = ExportTraceServiceRequest()
    scopes = {}
    for origin in ORIGINS:
        resource = request.resource_spans.add()
        for key, value in origin.resource.items():
            resource.resource.attributes.add(key=key).value.string_value = str(value)
        scopes[id(origin)] = resource.scope_spans.add()
    for span in spans:
        made = scopes[id(span.origin)].spans.add(
            trace_id=bytes.fromhex(span.trace_id),
            span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent_id or ""),
            name=span.name,
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.end_ns,
        )
        made.status.code, made.status.message = span.status, span.status_message
        for key, value in span.attributes.items():
            field = made.attributes.add(key=key).value
            if isinstance(value, int):
                field.int_value = value
            else:
                field.string_value = str(value)
    return request.SerializeToString()


def paths(client: httpx.Client, traces: list[str]) -> dict[str, tuple[list[str], float]]:
    """The requested paths by their name in the table, each with its limit."""
    deep = "/traces"
    for _ in range(20):
        page = client.get(deep).text
        deep = page.split('id="older"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    return {
        "list, newest": (["/traces"], LIST),
        "list, 20 pages down": ([deep], LIST),
        "list, one tenant's failures": (["/traces?tenant=tenant-07&status=failed"], LIST),
        "list, words that are nowhere": (["/traces?q=nowhere"], LIST),
        "list, slowest first": (["/traces?tenant=tenant-07&sort=duration"], LIST),
        "list, how many are new": ([f"/traces/new?since={time.time_ns() - 2 * SECOND}"], LIST),
        "overview, 24 h": (["/"], OVERVIEW),
        "overview, 7 d": (["/?range=7d"], OVERVIEW),
        "overview, 1 h of a tenant": (["/?range=1h&tenant=tenant-07"], OVERVIEW),
        "services": (["/services"], LIST),
        f"trace of {LARGE:,} spans": ([f"/trace/{trace_id}" for trace_id in traces], TRACE),
    }


def memory(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1]) / 1024


def measure(client: httpx.Client, traces: list[str], rounds: int) -> bool:
    asked = paths(client, traces)
    times: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(rounds):
        for name, (choices, _) in asked.items():
            began = time.perf_counter()
            client.get(choices[number % len(choices)]).raise_for_status()
            times[name].append((time.perf_counter() - began) * 1000)
    print("| page | median ms | p95 ms | at most | |\n|---|---:|---:|---:|---|")
    kept = True
    for name, (_, limit) in asked.items():
        high = statistics.quantiles(times[name], n=20)[-1]
        kept &= high <= limit
        word = "kept" if high <= limit else "missed"
        print(f"| {name} | {statistics.median(times[name]):.1f} | {high:.1f} | {limit:.0f} | {word} |")
    return kept


#: Observers installed before the first byte of a page.
OBSERVE = """
window.seen = {lcp: 0, long: 0};
new PerformanceObserver((list) => { seen.lcp = list.getEntries().at(-1).startTime; })
  .observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver((list) => { seen.long += list.getEntries().length; })
  .observe({type: "longtask", buffered: true});
"""
VISITS = 5
#: only ends a hang
HANG_MS = 60_000.0


def look(url: str, cookies: dict[str, str], traces: list[str]) -> bool:
    """Open each page in `VISITS` fresh contexts of a real Chromium; return whether the limits are kept."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        print("\nno Chromium found: browser measurements skipped")
        return False
    pages = {"overview": "/", "list": "/traces", "services": "/services"}
    pages[f"trace of {LARGE:,} spans"] = f"/trace/{traces[0]}"
    print(
        "\n| page in Chromium | LCP ms | long tasks | nodes | KB | requests | |\n"
        "|---|---:|---:|---:|---:|---:|---|"
    )
    kept = True
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, page_path in pages.items():
            seen = [visited(browser, url, cookies, page_path) for _ in range(VISITS)]
            lcp, long, nodes, size, requests = (
                statistics.median(column) for column in zip(*seen, strict=True)
            )
            is_kept = lcp <= LCP and long == 0 and nodes <= NODES
            kept &= is_kept
            print(
                f"| {name} | {lcp:.0f} | {long:.0f} | {nodes:,.0f} | {size / 1024:.0f} | {requests:.0f} | "
                f"{'kept' if is_kept else 'missed'} |",
                flush=True,
            )
        browser.close()
    return kept


def visited(browser: Any, url: str, cookies: dict[str, str], path: str) -> tuple[float, ...]:
    """LCP in ms, long tasks, nodes, bytes transferred and requests of one visit with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        # signed in without a page, whose nodes would be counted too
        context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])
        context.set_default_timeout(HANG_MS)
        page = context.new_page()
        page.add_init_script(OBSERVE)
        developer = context.new_cdp_session(page)
        developer.send("Network.enable")
        developer.send("Network.setCacheDisabled", {"cacheDisabled": True})
        developer.send("Performance.enable")
        # not until the network is idle: pages poll, and on a busy machine one request follows the other
        page.goto(url + path)
        page.locator(".plot:not([data-drawn])").first.wait_for(state="detached")
        # after its tasks and two frames everything has been painted and the observers have been notified
        page.evaluate(
            "new Promise(done => requestIdleCallback("
            "() => requestAnimationFrame(() => requestAnimationFrame(done))))"
        )
        lcp, long = page.evaluate("[seen.lcp, seen.long]")
        metrics = {
            item["name"]: item["value"] for item in developer.send("Performance.getMetrics")["metrics"]
        }
        sizes = page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".filter(entry => entry.initiatorType !== 'fetch').map(entry => entry.encodedBodySize)"
        )
        return lcp, long, metrics["Nodes"], sum(sizes), len(sizes)
    finally:
        context.close()


def run(spans: int, rate: int, rounds: int, directory: Path) -> bool:
    traces = fill(directory, spans)
    size = (directory / "local.db").stat().st_size
    ready = directory / "ready.json"
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "somatrace",
            "local",
            "--port",
            "0",
            "--data-dir",
            directory,
            "--ready-file",
            ready,
        ],
        env={**os.environ, "SOMATRACE_LOCAL_MAX_BYTES": str(1 << 40)},
        stdout=subprocess.DEVNULL,
    )
    sender = None
    try:
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        ready_info = json.loads(ready.read_text())
        pair = httpx.BasicAuth(ready_info["public_key"], ready_info["secret_key"])
        header = next(pair.auth_flow(httpx.Request("GET", ready_info["url"]))).headers["Authorization"]
        if rate:
            arguments = [sys.executable, __file__, SENDER, ready_info["url"], header, str(rate)]
            sender = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            time.sleep(3)
        with httpx.Client(base_url=ready_info["url"], timeout=60) as client:
            client.post("/open", data={"token": ready_info["page"].partition("#")[2]})
            kept = measure(client, traces, rounds)
            cookies = dict(client.cookies)
        peak = memory(server.pid, "VmHWM")
        print(
            f"| memory of the server, MB | {memory(server.pid, 'VmRSS'):.0f} | {peak:.0f} | {MEMORY:.0f} | "
            f"{'kept' if peak <= MEMORY else 'missed'} |"
        )
        arrived = "0"
        if sender is not None:
            sender.terminate()
            arrived = (sender.communicate()[0].split() or ["0"])[-1]
        print(
            f"\n{spans:,} spans, {size / 1e6:,.0f} MB on disk; "
            f"{arrived} spans/s arrived while it was measured"
        )
        kept &= look(ready_info["url"], cookies, traces)
    finally:
        if sender is not None:
            sender.kill()
        server.terminate()
        server.wait(30)
    return kept and peak <= MEMORY


def main() -> int:
    if sys.argv[1:2] == [SENDER]:
        send(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        return 0 if run(given.spans, given.rate, given.rounds, Path(directory)) else 1


if __name__ == "__main__":
    sys.exit(main())
