"""Measure time to visibility: from the end of a trace's root span until all of it can be read back.

Each round is one run of `somatrace smoke`: a separate process calls the bundled model server through the
openai client, its spans go to the target, and the target is polled until it returns them. The targets
alternate.

    python benchmarks/smoke.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from somatrace.smoke import SmokeOptions, run

EXCLUDED = ("SOMATRACE_", "OTEL_", "LANGFUSE_", "TRACELOOP_", "TRACE_CONTENT")


def main() -> int:
    rounds = _rounds()
    with tempfile.TemporaryDirectory() as name, _local_server(Path(name) / "server") as langfuse:
        targets: dict[str, Mapping[str, str]] = {
            "embedded store, through files": {"SOMATRACE_DATA_DIR": str(Path(name) / "embedded")},
            "`somatrace local`, over Langfuse's OTLP path and v2 read API": langfuse,
        }
        visible: dict[str, list[float]] = {target: [] for target in targets}
        whole: dict[str, list[float]] = {target: [] for target in targets}
        for _ in range(rounds):
            for target, env in targets.items():
                _environment(env)
                since = time.monotonic()
                report = run(SmokeOptions(timeout=120.0))  # only ends a hang
                if report.seconds_to_visible is None or report.exit_code != 0:
                    print(f"{target}: {report.message}", file=sys.stderr)
                    return 1
                visible[target].append(report.seconds_to_visible)
                whole[target].append(time.monotonic() - since)
    print("| target | visible after, ms | from | to | the whole run, s |")
    print("|---|---:|---:|---:|---:|")
    for target, seconds in visible.items():
        figures = [statistics.median(seconds), min(seconds), max(seconds)]
        shown = " | ".join(f"{1000 * each:.0f}" for each in figures)
        print(f"| {target} | {shown} | {statistics.median(whole[target]):.1f} |")
    return 0


def _rounds() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    return max(1, parser.parse_args().rounds)


def _environment(env: Mapping[str, str]) -> None:
    """Set one target's variables and remove all other tracing settings."""
    for name in [name for name in os.environ if name.startswith(EXCLUDED)]:
        del os.environ[name]
    os.environ.update(env)


@contextmanager
def _local_server(directory: Path) -> Iterator[dict[str, str]]:
    """Run `somatrace local` and yield the environment that makes it the target."""
    directory.mkdir()
    ready = directory / "ready.json"
    command = [sys.executable, "-m", "somatrace", "local", "--port", "0"]
    command += ["--data-dir", str(directory), "--ready-file", str(ready)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not ready.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        info = json.loads(ready.read_text())
        yield {
            "LANGFUSE_HOST": info["url"],
            "LANGFUSE_PUBLIC_KEY": info["public_key"],
            "LANGFUSE_SECRET_KEY": info["secret_key"],
        }
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
