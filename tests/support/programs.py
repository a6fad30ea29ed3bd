"""Run small programs in separate processes: `init_tracing` works once per process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

#: The first lines of a program whose spans leave at its exit, which waits a second for a target in use.
PATIENT = """
from somatrace.runtime import limits
limits.EXIT_LIMIT = limits.LOAD_LIMIT = 60.0  # a busy machine needs more
"""


def run_program(
    source: str,
    env: Mapping[str, str] | None = None,
    *,
    directory: Path | None = None,
    timeout: float = 180,
    python_options: tuple[str, ...] = (),
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run `source` (dedented) as a script and return its output; a failure shows the output.

    With `directory` the script is `prog.py` there (multiprocessing needs a file); else it is `-c`.
    """
    text = textwrap.dedent(source)
    if directory is not None:
        script = directory / "prog.py"
        script.write_text(text)
        command = [sys.executable, *python_options, str(script)]
    else:
        command = [sys.executable, *python_options, "-c", text]
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        cwd=directory,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def otlp_env(url: str, **more: str) -> dict[str, str]:
    """Environment variables of a service that sends to an OTLP receiver at `url`."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **more}
