"""Fixtures for a backend and for smoke, run in this process with real child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from somatrace.smoke import SmokeOptions, SmokeReport, run
from tests.smoke.backend import SECRET, Backend, running


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    (tmp_path / "backend").mkdir()
    with running(tmp_path / "backend") as server:
        yield server


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a missing openai package, which makes the run faster."""
    monkeypatch.setitem(sys.modules, "openai", None)


Smoke = Callable[..., SmokeReport]
#: Seconds that only end a hang: the trace is made by a process of its own, and a machine that has much else
#: to do takes several times as long as an idle one for that process's imports.
PATIENCE = 120.0


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> Smoke:
    """Run smoke with the given environment and check that its output never contains the secret key."""

    def go(env: Mapping[str, str], *, child: tuple[str, ...] | None = None, **options: object) -> SmokeReport:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        given = SmokeOptions(**{"timeout": PATIENCE, **options})  # type: ignore[arg-type]
        report = run(given) if child is None else run(given, child=child)
        # a short limit is meant for the target, but it includes the process that makes the trace
        while child is None and report.outcome in ("broken", "unsent") and given.timeout < PATIENCE / 2:
            given = replace(given, timeout=2 * given.timeout)
            report = run(given)
        output = "\n".join([*report.lines(), report.as_json()])
        assert SECRET not in output
        assert "Traceback" not in output
        return report

    return go
