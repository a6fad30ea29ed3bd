"""Fixtures: a target, a data directory, and the command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.drain.waiting import COMMAND, Run
from tests.support.otlp_server import OtlpServer, otlp_server


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(0o700)
    return made


@pytest.fixture
def env(server: OtlpServer, data: Path) -> dict[str, str]:
    """The settings of a service, and of the command."""
    return {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
        "SOMATRACE_DATA_DIR": str(data),
        "SOMATRACE_BATCH_SIZE": "10",
    }


@pytest.fixture
def drain(env: dict[str, str]) -> Run:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    return run
