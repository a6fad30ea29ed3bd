"""Shared fixtures: an environment without any target, and without writes to the home directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import context as otel_context

from tests.support.measuring import PROGRAMS, MeasuredTests
from tests.support.waiting import HANG

_FOREIGN = ("SOMATRACE_", "OTEL_", "LANGFUSE_", "TRACELOOP_", "TRACE_CONTENT", "OPENAI_", "ANTHROPIC_")

# At import time, so that it also applies to imports of test modules and to subprocesses.
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
# Some machines switch bytecode off for all programs: each process would compile every library it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A program that the interpreter lets crash says where.
os.environ["PYTHONFAULTHANDLER"] = "1"
# `import litellm` downloads a price table unless disabled.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

# On a busy machine the clock says nothing about a test: neither per example nor for drawing them.
settings.register_profile("somatrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("somatrace")

ROOT = Path(__file__).resolve().parent.parent
_ALONE = "TEST_RUNS_ALONE"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the tests with a longer time limit first, so that no process waits for one of them at the end."""
    usual = float(config.getini("timeout"))

    def is_short(item: pytest.Item) -> bool:
        own = item.get_closest_marker("timeout")
        return own is None or float(own.args[0]) <= usual

    items.sort(key=is_short)


def pytest_configure(config: pytest.Config) -> None:
    """Under `coverage run`, measure only a sample of tests that repeat themselves."""
    coverage = sys.modules.get("coverage")
    if coverage is not None and (measuring := coverage.Coverage.current()) is not None:
        config.pluginmanager.register(MeasuredTests(measuring))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that forks in a process of its own.

    A child of this one may wait forever for a lock that a thread of another test's gRPC server held.
    """
    if pyfuncitem.get_closest_marker("forks") is None or _ALONE in os.environ:
        return None
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", pyfuncitem.nodeid],
        cwd=ROOT,
        env={**os.environ, _ALONE: "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _patient_clients() -> None:
    """Clients of httpx without a time limit of their own, which is 5 seconds, only end a hang."""
    for name in ("httpx", "httpx2"):
        if name in sys.modules:
            default = sys.modules[name]._config.DEFAULT_TIMEOUT_CONFIG
            default.connect = default.read = default.write = default.pool = HANG


@pytest.fixture(autouse=True)
def _own_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spool and local store of this test, and of the processes it starts, in its own directory."""
    monkeypatch.setenv("SOMATRACE_DATA_DIR", str(tmp_path / "somatrace-data"))


@pytest.fixture(autouse=True)
def _own_context() -> Iterator[None]:
    """What a test leaves in OpenTelemetry's context does not reach the next one."""
    token = otel_context.attach(otel_context.get_current())
    yield
    otel_context.detach(token)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this test nor its processes are measured: coverage is slow, and imports modules itself."""
    for name in PROGRAMS:
        monkeypatch.delenv(name, raising=False)
