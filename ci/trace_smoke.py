"""One real trace, read back: the CI job `observability-smoke`. Exit codes are those of `somatrace smoke`.

    python ci/trace_smoke.py [--timeout 60] [--report trace-smoke.json] [--allow-unverifiable]

It needs somatrace and, to read back as programs do, langfuse; the commands' own extra is not needed.
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # with what it has started
    try:
        report = run(SmokeOptions(env_file=options.env_file, timeout=options.timeout))
    except KeyboardInterrupt:
        return 130
    if options.report:
        with contextlib.suppress(OSError):  # it could be written when the run began
            options.report.write_text(report.as_json() + "\n", encoding="utf-8")
    try:
        print("\n".join(report.lines()), flush=True)
    except BrokenPipeError:  # whoever read it has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return _code(report, allow_unverifiable=options.allow_unverifiable)


def _code(report: SmokeReport, *, allow_unverifiable: bool) -> int:
    return 0 if allow_unverifiable and report.exit_code == UNVERIFIABLE else report.exit_code


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--timeout", type=_seconds, default=60.0, help="seconds for all of it")
    parser.add_argument("--env-file", type=_file, help="settings from this .env file; the environment wins")
    parser.add_argument("--report", type=_writable, help="write the report here, as JSON")
    parser.add_argument(
        "--allow-unverifiable",
        action="store_true",
        help="be content with a plain OTLP backend, which cannot be asked what it holds",
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
