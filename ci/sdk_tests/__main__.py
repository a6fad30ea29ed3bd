"""Run the trace tests of the installed OpenTelemetry SDK against our provider, tracer and spans.

The tests come from the SDK's source distribution; `exceptions.py` lists those that have to fail, with the
reasons. Further arguments are pytest's.

    python -m ci.sdk_tests [-k TestSpan]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ci.sdk_tests.sources import ROOT, sources

#: settings of the caller that would reach the tests
_FOREIGN = ("PYTEST", "PYTHON", "SOMATRACE", "OTEL", "LANGFUSE", "TRACELOOP")


def main(arguments: list[str]) -> int:
    source = sources()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    environment = {
        **kept,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(source / "utilities"))),
        # the tests start `python`
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
    }
    command = [sys.executable, "-m", "pytest", "-p", "pytest_timeout", "-p", "ci.sdk_tests.plugin"]
    command += ["-c", os.devnull, "--rootdir", str(source), "-p", "no:cacheprovider", "--timeout", "100"]
    command += ["--tb=short", "-rfEx", *arguments, "tests/trace"]
    return subprocess.run(command, cwd=source, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
