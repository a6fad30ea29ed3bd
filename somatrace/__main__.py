"""`somatrace` and `python -m somatrace`: the commands, or one line on what to do instead."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    if sys.argv[1:2] == ["check"]:
        # the check needs no extra, and starts in a fifth of the time that typer takes
        from somatrace.check.command import main as check

        raise SystemExit(check(sys.argv[2:]))
    # its default ends this process at once, and leaves those that it started behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        from somatrace.cli import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.stderr.write("somatrace: the commands need `pip install 'somatrace[cli,local]'`\n")
        raise SystemExit(2) from None
    try:
        code = app(prog_name="somatrace", standalone_mode=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        raise SystemExit(_usage(error)) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _usage(error: Exception) -> int:
    """One line for a usage error. Typer brings its own click, so the error is known by what it can do."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return 2
    if type(error).__name__ == "Abort":
        return 130
    message = getattr(error, "format_message", None)
    if message is None:
        from somatrace.config import resolve

        if resolve("somatrace").debug:
            raise error
        sys.stderr.write(f"somatrace: {type(error).__name__}: {error} (SOMATRACE_DEBUG=1 shows where)\n")
        return 1
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "somatrace"
    sys.stderr.write(f"somatrace: {' '.join(str(message()).split())} (see `{command} --help`)\n")
    return 2


if __name__ == "__main__":
    main()
