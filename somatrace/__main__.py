"""Entry point of `somatrace` and `python -m somatrace`. Errors print one line with the fix."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from somatrace.check.python_version import require_python

    require_python()
    if sys.argv[1:2] == ["check"]:
        from somatrace.check.import_path import drop_working_directory

        drop_working_directory()
        # the check needs no extra, and starts in a fifth of the time typer needs
        from somatrace.check.command import main as check

        raise SystemExit(check(sys.argv[2:]))
    import signal

    # the default handler ends this process at once and leaves its child processes running
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        from somatrace.cli import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.stderr.write("somatrace: the commands need extras: `pip install 'somatrace[cli,local]'`\n")
        raise SystemExit(2) from None
    try:
        code = app(prog_name="somatrace", standalone_mode=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        raise SystemExit(_usage(error)) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _usage(error: Exception) -> int:
    """Print one line for a usage error. Typer bundles its own click, so duck-type the error."""
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
        sys.stderr.write(
            f"somatrace: {type(error).__name__}: {error} (set SOMATRACE_DEBUG=1 for the traceback)\n"
        )
        return 1
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "somatrace"
    sys.stderr.write(f"somatrace: {' '.join(str(message()).split())} (see `{command} --help`)\n")
    return 2


if __name__ == "__main__":
    main()
