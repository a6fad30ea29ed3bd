"""A pytest plugin: traces a library's own tests, and writes the outcome of each.

`DIFFERENTIAL_MODE` is `without`, `none` or `full`. `without` does not import somatrace. With `none`, every
second test runs inside a span of a tenant without content; with `full`, every test does, and all of the
tenant's content is recorded, without redaction. Spans go to `DIFFERENTIAL_ENDPOINT`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

#: bound once: tests replace the clock, the environment and `open`
MODE = os.environ.get("DIFFERENTIAL_MODE", "without")
ENDPOINT = os.environ.get("DIFFERENTIAL_ENDPOINT", "")
OUTCOMES = os.environ.get("DIFFERENTIAL_OUTCOMES", "")
#: whether somatrace's thread starts before the tests, and not with the first span
START_THREAD = bool(os.environ.get("DIFFERENTIAL_START_THREAD"))
TENANT = "differential"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start tracing before the suite imports its library."""
    if MODE == "without":
        return
    from somatrace import Config, flush, init_tracing, span, status

    init_tracing("differential", config=Config(endpoint=ENDPOINT, content_policy=_policy()))
    assert status().enabled, status().problems
    if START_THREAD:
        with span("start"):
            pass
        flush(30)


def _policy() -> object:
    from somatrace import ContentPolicy

    entry: dict[str, object] = {"content": "none"}
    if MODE == "full":
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        entry = {"content": "full", "until": until, "reason": "comparison of outcomes"}
    return ContentPolicy.parse({"tenants": {TENANT: entry}})


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run the test, its fixtures included, inside a span of the tenant."""
    with ExitStack() as blocks:
        if MODE == "full" or (MODE == "none" and zlib.crc32(item.nodeid.encode()) % 2):
            from somatrace import bind, span

            blocks.enter_context(bind(tenant_id=TENANT))
            blocks.enter_context(span("test", kind="workflow"))
        return (yield)


class OutcomeWriter:
    """Writes one line of JSON per phase of a test, at once, so that a crash loses nothing."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        text = "" if report.passed else str(report.longrepr)[-4000:]
        self._write(report.nodeid, report.when, outcome, text)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(report.nodeid, "collect", "failed", str(report.longrepr)[-4000:])

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write("", "end", str(int(exitstatus)), "")

    def _write(self, test: str, phase: str, outcome: str, text: str) -> None:
        line = json.dumps({"test": test, "phase": phase, "outcome": outcome, "text": text})
        os.write(self._file, line.encode() + b"\n")


def pytest_configure(config: pytest.Config) -> None:
    """Write outcomes, but not in the processes of pytest-xdist, which report to this one."""
    if OUTCOMES and not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeWriter(Path(OUTCOMES)), "outcome_writer")
