"""What every test shares: an environment in which nothing points anywhere and nothing is written at home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOREIGN = ("SOMATRACE_", "OTEL_", "LANGFUSE_", "TRACELOOP_", "TRACE_CONTENT", "OPENAI_", "ANTHROPIC_")

# At import, so that it also holds for what a test module does at its own import and for its subprocesses.
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
# `import litellm` asks the internet for a price table unless told not to.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def _own_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spool and local store of this test (and of the processes it starts) lie in its own directory."""
    monkeypatch.setenv("SOMATRACE_DATA_DIR", str(tmp_path / "somatrace-data"))
