"""Outcomes of one run of a suite, and how runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: the last lines of a run: pytest's exit status, and the number of spans that arrived
END, SPANS = "end", "spans"
#: exit statuses of a run in which all tests were run: all passed, some failed
COMPLETE = ("0", "1")
ABSENT = "absent"
#: an error in the teardown does not hide a failure
_SEVERITY = ("passed", "skipped", "xfailed", "xpassed", "error", "failed")


@dataclass
class Run:
    """The outcome of each test by its id, the texts of those that did not pass, pytest's exit status, and the
    number of spans."""

    outcomes: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    status: str = ""
    spans: int = 0

    @property
    def complete(self) -> bool:
        return self.status in COMPLETE


@dataclass(frozen=True, order=True)
class Difference:
    """A test whose outcome with tracing (`mode`) is not the one without."""

    test: str
    mode: str
    without: str
    traced: str
    #: why it did not pass with tracing
    text: str = field(default="", compare=False)


def read(path: Path) -> Run:
    """The run that `traced_tests` has written; one that ended early has no status."""
    run = Run()
    if not path.exists():
        return run
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if entry["phase"] == END:
            run.status = entry["outcome"]
            continue
        if entry["phase"] == SPANS:
            run.spans = int(entry["outcome"])
            continue
        if entry["phase"] == "setup":  # also that of another attempt
            run.outcomes.pop(entry["test"], None)
            run.texts.pop(entry["test"], None)
        _add(run, entry)
    return run


def add_spans(path: Path, spans: int) -> None:
    """Add the number of spans that arrived to the outcomes of a run."""
    with path.open("a") as written:
        written.write(json.dumps({"test": "", "phase": SPANS, "outcome": str(spans), "text": ""}) + "\n")


def _add(run: Run, entry: Mapping[str, str]) -> None:
    outcome = entry["outcome"]
    if outcome == "rerun":
        return
    if outcome == "failed" and entry["phase"] != "call":
        outcome = "error"
    before = run.outcomes.get(entry["test"], "passed")
    run.outcomes[entry["test"]] = max(before, outcome, key=_SEVERITY.index)
    if entry["text"] and run.outcomes[entry["test"]] != before:
        run.texts[entry["test"]] = entry["text"]


def flaky(runs: Iterable[Run]) -> set[str]:
    """Tests that do not have the same outcome in all of the runs, which are all without tracing."""
    several = [run.outcomes for run in runs]
    tests = set().union(*several)
    return {test for test in tests if len({run.get(test, ABSENT) for run in several}) > 1}


def differences(without: Run, traced: Run, mode: str, excluded: Iterable[str]) -> list[Difference]:
    """The tests whose outcome changes with tracing, in the order of their ids."""
    tests = (without.outcomes.keys() | traced.outcomes.keys()) - set(excluded)
    found = [
        Difference(
            test,
            mode,
            without.outcomes.get(test, ABSENT),
            traced.outcomes.get(test, ABSENT),
            traced.texts.get(test, ""),
        )
        for test in tests
    ]
    return sorted(one for one in found if one.without != one.traced)
