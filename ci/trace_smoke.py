"""Send one real trace and read it back: the CI job `observability-smoke`.

Exit codes are those of `somatrace smoke`.

    python ci/trace_smoke.py [--timeout 60] [--report trace-smoke.json] [--allow-unverifiable]

It requires somatrace and, to read traces back as programs do, langfuse; the extra `cli` is not required.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

from somatrace.smoke import SmokeOptions, SmokeReport, run

UNVERIFIABLE = 17


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # stops child processes too
    try:
        report = run(SmokeOptions(env_file=options.env_file, timeout=options.timeout))
    except KeyboardInterrupt:
        return 130
    if options.report:
        with contextlib.suppress(OSError):  # it was writable when the run began
            options.report.write_text(report.as_json() + "\n", encoding="utf-8")
    try:
        print("\n".join(report.lines()), flush=True)
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return _code(report, allow_unverifiable=options.allow_unverifiable)


def _code(report: SmokeReport, *, allow_unverifiable: bool) -> int:
    return 0 if allow_unverifiable and report.exit_code == UNVERIFIABLE else report.exit_code


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--timeout", type=_seconds, default=60.0, help="overall timeout in seconds")
    parser.add_argument(
        "--env-file",
        type=_file,
        help="read settings from this .env file; environment variables take precedence",
    )
    parser.add_argument("--report", type=_writable, help="file to write the JSON report to")
    parser.add_argument(
        "--allow-unverifiable",
        action="store_true",
        help="succeed with a plain OTLP backend, which has no read API",
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 600:
        raise argparse.ArgumentTypeError("use 1 to 600")
    return seconds


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return text


def _writable(text: str) -> Path:
    try:
        with Path(text).open("a"):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be written ({error.strerror})") from None
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
