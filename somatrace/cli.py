"""The command line. Bad input prints one line with the fix and exits with code 2."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from somatrace.command_line import EnvFile, print_lines, settings_of, stop
from somatrace.costs.command import costs, prices
from somatrace.semconv import VERSION

if TYPE_CHECKING:
    from somatrace.doctor.findings import Level
    from somatrace.local.access.keys import Keys

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text, as in the help of `check`
    pretty_exceptions_enable=False,
    help="Tracing for Python LLM services.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COLORS: Final[dict[Level, str]] = {"ok": "green", "note": "cyan", "wrong": "red", "unknown": "yellow"}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options of all commands."""


@app.command()
def version() -> None:
    """Print the version."""
    _print_version(wanted=True)


@app.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
def check(context: typer.Context) -> None:
    """Find services that would run untraced. Nothing from the tree is imported or run."""
    from somatrace.check.command import main

    raise typer.Exit(main(context.args))


@app.command()
def local(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind; 0 picks a free one.")] = 4318,
    host: Annotated[str, typer.Option(help="Local address to bind.")] = "127.0.0.1",
    data_dir: Annotated[Path | None, typer.Option(help="Directory of the store.")] = None,
    allow_remote: Annotated[bool, typer.Option(help="Allow binding to a non-loopback address.")] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Write address and keys to this file (JSON, mode 0600) once the server is ready."),
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Run the local trace server and web page. Its API is compatible with Langfuse's."""
    _need("starlette", "uvicorn", "jinja2", extra="local")
    settings = settings_of(env_file)
    from somatrace.local.data_dir import data_dir as place
    from somatrace.local.server import run

    directory = data_dir or place(settings.data_dir, settings.state_home)
    if directory is None:
        stop("no writable directory for the store; set one with --data-dir")

    def ready(address: str, keys: Keys) -> None:
        if ready_file is not None:
            _announce(ready_file, address, keys)

    code = run(
        directory,
        host=host,
        port=port,
        allow_remote=allow_remote,
        max_bytes=settings.local_max_bytes,
        max_days=settings.local_max_days,
        ready=ready,
    )
    raise typer.Exit(code)


@app.command()
def smoke(
    *,
    env_file: EnvFile = None,
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Overall timeout in seconds.")] = 30,
    real: Annotated[
        bool, typer.Option(help="Call the model configured by your own OPENAI_* settings.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Model name for --real.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Send one real trace, read it back and check it.

    Exit codes: 0 it arrived, 1 it could not be created, 2 bad input or settings, 10 and above a problem with
    the target or the trace.
    """
    settings_of(env_file)
    if real != (model is not None):
        stop("--real and --model go together: pass the name of the model to call")
    from somatrace.smoke import SmokeOptions, run

    options = SmokeOptions(str(env_file) if env_file else None, timeout, real)
    report = run(options if model is None else replace(options, model=model))
    print_lines([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


@app.command()
def doctor(
    *,
    service: Annotated[
        str | None, typer.Option("--app", help="Load this service (module:app) as its server would.")
    ] = None,
    factory: Annotated[bool, typer.Option(help="Treat --app as an app factory.")] = False,
    env_file: EnvFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Timeout per probe, in seconds.")] = 10,
    send: Annotated[
        bool, typer.Option("--send", help="Also send one span, to test the target's storage.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every setting and every check that passed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Report problems with settings, target, libraries and a service.

    Exit codes: 0 no problem, 1 a problem, 2 bad input, 3 not everything could be checked.
    """
    settings_of(env_file)
    if service is not None and re.fullmatch(r"\w+(\.\w+)*(:\w+(\.\w+)*)?", service) is None:
        stop("--app takes module:app, as uvicorn does")
    from somatrace.doctor import DoctorOptions, examine

    options = DoctorOptions(str(env_file) if env_file else None, service, factory, timeout, send)
    diagnosis = examine(options)
    print_lines([diagnosis.as_json()] if as_json else diagnosis.lines(everything=everything, mark=_colored))
    raise typer.Exit(diagnosis.exit_code)


@app.command()
def drain(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what waits; send and change nothing.")
    ] = False,
    retarget: Annotated[
        bool,
        typer.Option(
            "--retarget", help="Also send spans recorded for other targets to the configured target."
        ),
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write what waits for any target to this new file instead, as one OTLP request (protobuf)."
        ),
    ] = None,
    dead: Annotated[
        bool,
        typer.Option("--dead", help="List the spans that their target does not accept, or --export them."),
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --dead: have those spans wait again, and send what waits.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Data directory of the services.")] = None,
    env_file: EnvFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=86400, help="Overall timeout in seconds.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Send the spans that wait on disk, of all services.

    Spans that a running process holds, or that wait for another target, are left alone.

    Exit codes: 0 nothing is left, 1 something is left or was lost, 2 bad input or settings.
    """
    settings_of(env_file)
    from somatrace.drain import DrainError, DrainOptions, run
    from somatrace.drain.progress import bar, silent

    options = DrainOptions(
        str(env_file) if env_file else None, data_dir, timeout, dry_run, retarget, export, dead, retry
    )
    progress = bar if sys.stderr.isatty() and not as_json else silent
    try:
        report = run(options, lambda line: None if as_json else print_lines([line]), progress)
    except DrainError as error:
        stop(str(error))
    print_lines([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


app.command()(prices)
app.command()(costs)


def _colored(level: Level, mark: str) -> str:
    """A mark in color on a terminal, unless NO_COLOR (no-color.org) is set."""
    from rich.console import Console

    terminal = Console()
    return typer.style(mark, fg=_COLORS[level]) if terminal.is_terminal and not terminal.no_color else mark


def _announce(path: Path, address: str, keys: Keys) -> None:
    """Write the ingester's address and keys atomically, readable only by this user."""
    from somatrace.local.access.auth import link
    from somatrace.local.access.keys import LINK_SECONDS

    announcement = {
        "url": address,
        "public_key": keys.public_key,
        "secret_key": keys.secret_key,
        "page": link(keys, address, LINK_SECONDS),
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(announcement, file)
        draft.replace(path)
    except OSError as error:
        stop(f"--ready-file: {path} cannot be written ({error.strerror})")


def _need(*modules: str, extra: str) -> None:
    if any(importlib.util.find_spec(module) is None for module in modules):
        stop(f"this command needs `pip install 'somatrace[{extra}]'`")
