"""Fixtures for a backend and for smoke, run in this process with real child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
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


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> Smoke:
    """Run smoke with the given environment and check that its output never contains the secret key."""

    def go(env: Mapping[str, str], *, child: tuple[str, ...] | None = None, **options: object) -> SmokeReport:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        given = SmokeOptions(**{"timeout": 20.0, **options})  # type: ignore[arg-type]
        report = run(given) if child is None else run(given, child=child)
        output = "\n".join([*report.lines(), report.as_json()])
        assert SECRET not in output
        assert "Traceback" not in output
        return report

    return go
