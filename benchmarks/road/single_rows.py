"""Rows about one property each: a block, a disabled program, the queue, a burst, width, calls, costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.road.cases import LOCAL, Case
from benchmarks.road.measure import Bench, Series

#: Settings with which nothing is sent during a run.
_WAITING = {
    "sdk": {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16384"},
    "ours": {"SOMATRACE_FLUSH_INTERVAL": "3600", "SOMATRACE_BATCH_SIZE": "8192"},
}
_LARGE_QUEUE = {"SOMATRACE_QUEUE_BYTES": str(128 << 20)}
#: The SDK's own default, in place of the room that paced runs get.
_DEFAULT_QUEUE = {"OTEL_BSP_MAX_QUEUE_SIZE": "2048"}
_BURST = 100_000
_WIDTHS = {"tasks": (1, 10, 100, 1000), "threads": (1, 4, 32), "attributes": (10, 25, 50, 128)}
_CLIENTS = ("openai", "litellm", "langchain")


def _verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"


def _range(series: Series, what: str) -> str:
    values = series.values(what)
    return f"{min(values):.2f} to {max(values):.2f}"


def small(bench: Bench, _: list[str], before: Path | None) -> str:
    """A `span()` block, a disabled program, bytes in the queue, `redact_text`."""
    cases = {
        "sdk block": Case("sdk", "block"),
        "ours block": Case("ours", "block"),
        "sdk queued": Case("sdk", "queued", further=_WAITING["sdk"]),
        "ours queued": Case("ours", "queued", further=_WAITING["ours"]),
        "ours disabled": Case("ours", "disabled", {}, LOCAL, {"SOMATRACE_ENABLED": "false"}, checked=False),
        "none disabled": Case("none", "disabled"),
        "ours redaction": Case("ours", "redaction", checked=False),
    }
    if before is not None:
        earlier = {name: case for name, case in cases.items() if case.system == "ours"}
        cases |= {f"before {name}": dataclasses.replace(case, tree=before) for name, case in earlier.items()}
    found = bench.measure("small", cases, steady=("sdk block", "caller"))
    lines = [
        "| row | goal | somatrace | from, to | beside it | before |",
        "|---|---:|---:|---|---|---:|",
    ]

    def line(row: str, name: str, what: str, goal: str, beside: str) -> None:
        series = found[name]
        earlier = f"{found[f'before {name}'].median(what):.2f}" if before is not None else ""
        told = f"void: {series.void}" if series.void else f"{series.median(what):.2f}"
        lines.append(f"| {row} | {goal} | {told} | {_range(series, what)} | {beside} | {earlier} |")

    sdk, ours = found["sdk block"].median("caller"), found["ours block"].median("caller")
    beside = f"the SDK's `start_as_current_span` {sdk:.2f}, ratio {ours / sdk:.2f}"
    line(
        "`span()` block, µs",
        "ours block",
        "caller",
        f"0.60 of the SDK's, {_verdict(ours <= 0.6 * sdk)}",
        beside,
    )
    disabled = found["ours disabled"].median("caller")
    beside = f"the API's own `start_as_current_span` {found['none disabled'].median('caller'):.2f}"
    line("disabled, µs per `span()`", "ours disabled", "caller", f"1, {_verdict(disabled <= 1)}", beside)
    size = found["ours queued"].median("bytes")
    beside = f"plain SDK {found['sdk queued'].median('bytes'):.0f}"
    line("bytes per queued span", "ours queued", "bytes", f"1,200, {_verdict(size <= 1200)}", beside)
    line("`redact_text`, 2 KB, µs", "ours redaction", "caller", "not slower", "")
    return "\n".join(lines)


def costs(bench: Bench, _: list[str], __: Path | None) -> str:
    """What the cost of a model call takes of the worker's thread; the program's thread has no part in it."""
    goals = {
        "price": ("price of a known model", 2),
        "pricing": ("price and attributes", 8),
        "ledger": ("entry in the ledger", 0),
    }
    found = bench.measure("costs", {work: Case("ours", work, checked=False) for work in goals})
    lines = ["| µs of the worker's thread for one call of a model | goal | somatrace | from, to |"]
    lines.append("|---|---:|---:|---|")
    for work, (name, goal) in goals.items():
        took = found[work].median("caller")
        verdict = f"{goal}, {_verdict(took <= goal)}" if goal else ""
        lines.append(f"| {name} | {verdict} | {took:.2f} | {_range(found[work], 'caller')} |")
    return "\n".join(lines)


def burst(bench: Bench, _: list[str], before: Path | None) -> str:
    """100,000 spans as fast as the program can make them."""
    cases = {
        "plain SDK, its default queue": Case("sdk", "burst", further=_DEFAULT_QUEUE, checked=False),
        "somatrace, its default queue": Case("ours", "burst", checked=False),
        "somatrace, 128 MB": Case("ours", "burst", further=_LARGE_QUEUE, checked=False),
    }
    if before is not None:
        cases |= {
            f"before: {name}": dataclasses.replace(case, tree=before)
            for name, case in list(cases.items())[1:]
        }
    some = dataclasses.replace(bench, spans=_BURST if bench.rounds > 1 else 10 * bench.spans)
    found = some.measure("burst", cases)
    lines = [
        f"| {some.spans:,} spans, unpaced | lost | delivered/s | from, to | of the SDK's rate | made in s |"
    ]
    lines.append("|---|---:|---:|---|---:|---:|")
    for series in found.values():
        for run in series.runs:
            run["lost"] = run["made"] - run["arrived"]
            run["rate"] = (run["spans"] - run["lost"]) / run["seconds"]
    reference = next(iter(found.values())).median("rate")
    for name, series in found.items():
        rates = series.values("rate")
        lines.append(
            f"| {name} | {series.median('lost'):,.0f} | {series.median('rate'):,.0f} "
            f"| {min(rates):,.0f} to {max(rates):,.0f} | {series.median('rate') / reference:.2f} "
            f"| {series.median('making'):.1f} |"
        )
    return "\n".join([*lines, "", "Goals: with 128 MB none lost, and at least 4 times the SDK's rate."])


def width(bench: Bench, _: list[str], __: Path | None) -> str:
    """The cost of a span by the number of tasks, of threads, and of attributes."""
    lines = ["| process CPU per span, net, µs | somatrace | plain SDK | ratio |", "|---|---:|---:|---:|"]
    for work, every in _WIDTHS.items():
        widths = every if bench.rounds > 1 else (every[0], every[-1])
        cases = {
            f"{system} {number}": Case(system, work, {"width": number})
            for number in widths
            for system in ("none", "sdk", "ours")
        }
        found = bench.measure(work, cases)
        for number in widths:
            net = {
                system: found[f"{system} {number}"].median("process")
                - found[f"none {number}"].median("process")
                for system in ("sdk", "ours")
            }
            void = " ".join(found[f"{system} {number}"].void for system in net).strip()
            told = f"{net['ours']:.1f} | {net['sdk']:.1f} | {net['ours'] / net['sdk']:.2f}"
            told = f"void: {void} | |" if void else told
            lines.append(f"| {number:,} {work.rstrip('s') if number == 1 else work} | {told} |")
    return "\n".join(lines)


def calls(bench: Bench, _: list[str], __: Path | None) -> str:
    """What tracing adds to one call of a model through a client library."""
    titles = (
        "client",
        "without tracing, p50 / p99 ms",
        "the instrumentor adds",
        "somatrace adds",
        "CPU ms per call: without, instrumentor, somatrace",
        "p50 above the instrumentor's (goal 0.5 ms)",
    )
    lines = [f"| {' | '.join(titles)} |", "|---|---|---|---|---|---:|"]
    # importing litellm takes longer than the rest of a quick run
    for client in _CLIENTS if bench.rounds > 1 else ("openai", "langchain"):
        options = {"client": client, "count": max(20, bench.spans // 15)}
        found = bench.measure(
            client,
            {system: Case(system, "calls", options, checked=False) for system in ("none", "sdk", "ours")},
        )
        bare, alone, ours = (
            {what: found[system].median(what) for what in ("p50", "p99", "cpu")}
            for system in ("none", "sdk", "ours")
        )
        above = ours["p50"] - alone["p50"]
        arrived = all(found[system].median("arrived") for system in ("sdk", "ours"))
        added = [f"{one['p50'] - bare['p50']:.2f} / {one['p99'] - bare['p99']:.2f}" for one in (alone, ours)]
        told = f"{above:.2f} {_verdict(above <= 0.5)}" if arrived else "void: no span arrived"
        lines.append(
            f"| {client} | {bare['p50']:.2f} / {bare['p99']:.2f} | {added[0]} | {added[1]} "
            f"| {bare['cpu']:.2f}, {alone['cpu']:.2f}, {ours['cpu']:.2f} | {told} |"
        )
    return "\n".join(lines)
