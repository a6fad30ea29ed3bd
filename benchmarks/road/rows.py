"""The rows of the table: which programs each compares, and how it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks import start
from benchmarks.road.cases import LOCAL, NAMES, Case
from benchmarks.road.measure import STEADY, Bench, Series

Found = dict[str, Series]
_EXTRAS = {"": "", "listener": ", one listener", "processor": ", one third-party processor"}
_GOAL_WITH_EXTRA = 0.60
_GOAL_START = 0.80


def _cost(series: Series, what: str) -> list[float]:
    """CPU per round; of the whole process without redaction, which has a figure of its own."""
    if what == "caller":
        return series.values(what)
    return [run[what] - run.get("redaction", 0.0) for run in series.runs]


def _ratios(found: Found, name: str, what: str = "process") -> list[float]:
    rounds = zip(_cost(found[name], what), _cost(found["sdk"], what), _cost(found["none"], what), strict=True)
    return [(ours - none) / (sdk - none) for ours, sdk, none in rounds]


def _line(found: Found, row: str, name: str, what: str, goal: float) -> str:
    if name not in found:
        return ""
    if void := found[name].void or found["sdk"].void:
        return f"| {row} | {goal:.2f} | void: {void} | | | | | |"
    ours, sdk, none = (statistics.median(_cost(found[one], what)) for one in (name, "sdk", "none"))
    ratio, each = (ours - none) / (sdk - none), _ratios(found, name, what)
    return (
        f"| {row} | {goal:.2f} | {ratio:.2f} | {min(each):.2f} to {max(each):.2f} | {ours / sdk:.2f} "
        f"| {ours - none:.1f} | {sdk - none:.1f} | {'kept' if ratio <= goal else 'MISSED'} |"
    )


_HEAD = (
    "| row | goal | ratio | in single rounds | gross | somatrace µs/span | plain SDK µs/span | |\n"
    "|---|---:|---:|---:|---:|---:|---:|---|"
)


def _steadiness(found: Found, what: str = "process") -> str:
    spread = found["sdk"].spread(what)
    note = "" if spread <= STEADY else f", MORE THAN {STEADY:.0%}: the machine was not quiet"
    bare = found["none"].median(what)
    return f"Without tracing {bare:.1f} µs per would-be span; the plain SDK varied by {spread:.0%}{note}."


def _peers(found: Found, peers: list[str]) -> str:
    lines = [
        "| system | caller µs/span | process µs/span | caller, ratio | process, ratio | gross | from | to |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in ("sdk", *peers, "ours"):
        if void := found[name].void:
            lines.append(f"| {NAMES[name]} | void: {void} | | | | | | |")
            continue
        net = {
            what: [found[one].median(what) - found["none"].median(what) for one in (name, "sdk")]
            for what in ("caller", "process")
        }
        each = [run["process"] for run in found[name].runs]
        lines.append(
            f"| {NAMES[name]} | {net['caller'][0]:.1f} | {net['process'][0]:.1f} "
            f"| {net['caller'][0] / net['caller'][1]:.2f} | {net['process'][0] / net['process'][1]:.2f} "
            f"| {found[name].median('process') / found['sdk'].median('process'):.2f} "
            f"| {min(each):.1f} | {max(each):.1f} |"
        )
    return "\n".join(lines)


def off(bench: Bench, peers: list[str], before: Path | None) -> str:
    """Content off, to Langfuse and to the local target; the caller's thread."""
    cases = {name: Case(name, "paced") for name in ("none", "sdk", *peers)}
    for extra in _EXTRAS:
        cases[f"ours{extra}"] = Case("ours", "paced", {"extra": extra})
        cases[f"local{extra}"] = Case("ours", "paced", {"extra": extra}, LOCAL)
    cases["unsampled"] = Case(
        "ours", "paced", {"extra": "unsampled"}, further={"SOMATRACE_SAMPLE_RATE": "0"}, checked=False
    )
    if before:
        cases["before"] = Case("ours", "paced", tree=before)
        cases["local before"] = Case("ours", "paced", {}, LOCAL, tree=before)
    found = bench.measure("content off", cases, steady=("sdk", "process"))
    lines = [_HEAD]
    for name, row, goal in (
        ("ours", "content off, Langfuse target", 0.35),
        ("local", "content off, local target", 0.40),
    ):
        for extra, words in _EXTRAS.items():
            lines.append(
                _line(found, row + words, name + extra, "process", _GOAL_WITH_EXTRA if extra else goal)
            )
    for extra, words in _EXTRAS.items():
        lines.append(
            _line(
                found,
                f"caller's thread{words}",
                f"ours{extra}",
                "caller",
                _GOAL_WITH_EXTRA if extra else 0.25,
            )
        )
    row = "no trace sampled, one listener, which receives the model calls"
    lines.append(_line(found, row, "unsampled", "process", _GOAL_WITH_EXTRA))
    lines.append(_line(found, "before: content off, Langfuse target", "before", "process", 0.35))
    lines.append(_line(found, "before: content off, local target", "local before", "process", 0.40))
    lines.append(_line(found, "before: caller's thread", "before", "caller", 0.25))
    return "\n".join([*filter(None, lines), "", _steadiness(found), "", _peers(found, peers)])


def on(bench: Bench, peers: list[str], before: Path | None) -> str:
    """Content on and redacted: the cost beside redaction."""
    cases = {name: Case(name, "paced", {"content": True}) for name in ("none", "sdk", *peers)}
    for extra in _EXTRAS:
        cases[f"ours{extra}"] = Case("ours", "paced", {"content": True, "extra": extra})
    if before:
        cases["before"] = Case("ours", "paced", {"content": True}, tree=before)
    found = bench.measure("content on", cases, steady=("sdk", "process"))
    lines = [_HEAD]
    for extra, words in _EXTRAS.items():
        row = f"content on, redacted, beside redaction{words}"
        lines.append(_line(found, row, f"ours{extra}", "process", _GOAL_WITH_EXTRA if extra else 0.40))
    lines.append(_line(found, "before: content on, redacted, beside redaction", "before", "process", 0.40))
    own = found["ours"].values("redaction")
    told = (
        f"Redaction itself: {statistics.median(own):.1f} µs per span ({min(own):.1f} to {max(own):.1f}), "
        "which the rows above leave out, and the next table does not."
    )
    return "\n".join([*filter(None, lines), "", told, "", _steadiness(found), "", _peers(found, peers)])


def start_cost(bench: Bench, _: list[str], __: Path | None) -> str:
    """A process that calls `init_tracing` with nothing configured, against one with the stock SDK."""
    named = (("bare", start.BARE), ("sdk", start.STOCK_START), ("ours", start.OURS_LOCAL))
    spent: dict[str, list[float]] = {name: [] for name, _ in named}
    for _number in range(max(bench.rounds, 1)):
        for name, case in named:
            spent[name].append(start.run(case, bench.sink)[0])
    bare, sdk, ours = (statistics.median(spent[name]) for name, _ in named)
    ratio = (ours - bare) / (sdk - bare)
    head = "| row | goal | ratio | gross | somatrace ms | plain SDK ms | plain SDK from | to | |"
    figures = f"{ratio:.2f} | {ours / sdk:.2f} | {ours - bare:.0f} | {sdk - bare:.0f}"
    ends = f"{min(spent['sdk']) - bare:.0f} | {max(spent['sdk']) - bare:.0f}"
    verdict = "kept" if ratio <= _GOAL_START else "MISSED"
    row = f"| start, nothing configured | {_GOAL_START:.2f} | {figures} | {ends} | {verdict} |"
    return f"{head}\n|---|---:|---:|---:|---:|---:|---:|---:|---|\n{row}"


Row = Callable[[Bench, list[str], Path | None], str]
