"""`opentelemetry-instrument` fetches nothing for litellm on behalf of a program that does not use it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
print("litellm" in sys.modules, os.environ.get("LITELLM_LOCAL_MODEL_COST_MAP"))
"""


def installed(directory: Path) -> Path:
    """A directory for the path with the entry points of this project, as an installation has them."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [
        line for group in points for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points[group].items()))
    ]
    metadata = directory / "hooks-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hooks\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("given", [None, "True"])
def test_litellms_price_table_is_not_fetched_and_its_setting_is_restored(tmp_path: Path, given: str | None):
    others = {point.name for point in entry_points(group="opentelemetry_instrumentor")} - {"litellm"}
    script = tmp_path / "prog.py"
    script.write_text(PROGRAM)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/prices.json"
        done = subprocess.run(
            [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(script)],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("LITELLM_")},
                "PYTHONPATH": str(installed(tmp_path)),
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(others),
                "LITELLM_MODEL_COST_MAP_URL": url,
                **({"LITELLM_LOCAL_MODEL_COST_MAP": given} if given else {}),
            },
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert done.stdout.split() == ["True", str(given)], done.stderr
