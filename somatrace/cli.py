"""The command line. Bad input prints one line with the fix and exits with code 2."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from somatrace.config import Config, Settings, resolve
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
_EnvFile = Annotated[
    Path | None, typer.Option(help="Read settings from this .env file; the environment takes precedence.")
]


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
    env_file: _EnvFile = None,
) -> None:
    """Run the local trace server and web page. Its API is compatible with Langfuse's."""
    _need("starlette", "uvicorn", "jinja2", extra="local")
    settings = _settings(env_file)
    from somatrace.local.data_dir import data_dir as place
    from somatrace.local.server import run

    directory = data_dir or place(settings.data_dir, settings.state_home)
    if directory is None:
        _stop("no writable directory for the store; set one with --data-dir")

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
    env_file: _EnvFile = None,
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
    _settings(env_file)
    if real != (model is not None):
        _stop("--real and --model go together: pass the name of the model to call")
    from somatrace.smoke import SmokeOptions, run

    options = SmokeOptions(str(env_file) if env_file else None, timeout, real)
    report = run(options if model is None else replace(options, model=model))
    _print([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


@app.command()
def doctor(
    *,
    service: Annotated[
        str | None, typer.Option("--app", help="Load this service (module:app) as its server would.")
    ] = None,
    factory: Annotated[bool, typer.Option(help="Treat --app as an app factory.")] = False,
    env_file: _EnvFile = None,
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
    _settings(env_file)
    if service is not None and re.fullmatch(r"\w+(\.\w+)*(:\w+(\.\w+)*)?", service) is None:
        _stop("--app takes module:app, as uvicorn does")
    from somatrace.doctor import DoctorOptions, examine

    options = DoctorOptions(str(env_file) if env_file else None, service, factory, timeout, send)
    diagnosis = examine(options)
    _print([diagnosis.as_json()] if as_json else diagnosis.lines(everything=everything, mark=_colored))
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
    env_file: _EnvFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=86400, help="Overall timeout in seconds.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Send the spans that wait on disk, of all services.

    Spans that a running process holds, or that wait for another target, are left alone.

    Exit codes: 0 nothing is left, 1 something is left or was lost, 2 bad input or settings.
    """
    _settings(env_file)
    from somatrace.drain import DrainError, DrainOptions, run
    from somatrace.drain.progress import bar, silent

    options = DrainOptions(
        str(env_file) if env_file else None, data_dir, timeout, dry_run, retarget, export, dead, retry
    )
    progress = bar if sys.stderr.isatty() and not as_json else silent
    try:
        report = run(options, lambda line: None if as_json else _print([line]), progress)
    except DrainError as error:
        _stop(str(error))
    _print([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


@app.command()
def prices(
    words: Annotated[
        list[str] | None, typer.Argument(help="Texts that provider and model contain, such as: openai gpt-4o")
    ] = None,
    *,
    check: Annotated[
        Path | None, typer.Option(help="Check this price file instead, and list nothing.")
    ] = None,
    env_file: _EnvFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """List what calls of models cost today, or check a price file.

    Exit codes: 0 prices are listed or the file has no problem, 1 no model matches, 2 bad input, settings or
    price file.
    """
    settings = _settings(env_file)
    if check is not None and words:
        _stop("--check takes no words: it lists nothing")
    from somatrace.costs.price_file import PriceFileError
    from somatrace.costs.price_report import check_file, list_prices
    from somatrace.runtime.clock import clock
    from somatrace.runtime.watched_file import why_unreadable

    named = "SOMATRACE_PRICES_FILE" if check is None else "--check"
    file = check or (Path(settings.prices_file) if settings.prices_file else None)
    try:
        report = list_prices(file, words or (), clock.now().date()) if check is None else check_file(check)
    except PriceFileError as error:
        _stop(f"{named}: {file}: {error}")
    except OSError as error:
        _stop(f"{named}: {file}: {why_unreadable(error)}")
    _print([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


@app.command()
def costs(
    *,
    by: Annotated[
        str,
        typer.Option(
            help="What to sum up by, with commas between: tenant, workflow, agent, model, provider, service, "
            "day (UTC)."
        ),
    ] = "tenant",
    since: Annotated[
        str, typer.Option(help="Span of time before now, such as 24h or 7d, or a date, such as 2026-11-01.")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option(help="Like --since: the end of the period, which is not part of it.")
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="langfuse, local (the store of this machine), ledger (see SOMATRACE_COST_LEDGER), or auto: "
            "where services with these settings send spans."
        ),
    ] = "auto",
    max_spans: Annotated[int, typer.Option(min=1, help="Read at most as many spans, the newest.")] = 100_000,
    env_file: _EnvFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=86400, help="Overall timeout in seconds.")] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV instead of lines.")] = False,
) -> None:
    """Show what model calls have cost, read back from where they are.

    Exit codes: 0 figures of the whole period, 1 no backend can be read, 2 bad input or settings, 3 figures of
    a part of the period.
    """
    _settings(env_file)
    if as_json and as_csv:
        _stop("--json and --csv exclude each other")
    from somatrace.costs import cost_report
    from somatrace.costs.period import CostQueryError

    config = Config(env_file=str(env_file)) if env_file else None
    try:
        report = cost_report(by, since, until, source, max_spans=max_spans, timeout=timeout, config=config)
    except CostQueryError as error:
        _stop(f"--{error}")
    if as_csv:
        _print(report.as_csv().split("\n")[:-1])
        for remark in report.remarks():
            typer.echo(remark, err=True)
    else:
        _print([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


def _colored(level: Level, mark: str) -> str:
    """A mark in color on a terminal, unless NO_COLOR (no-color.org) is set."""
    from rich.console import Console

    terminal = Console()
    return typer.style(mark, fg=_COLORS[level]) if terminal.is_terminal and not terminal.no_color else mark


def _print(lines: Iterable[str]) -> None:
    """Print lines; the reader of a pipe may have gone."""
    try:
        for line in lines:
            typer.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


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
        _stop(f"--ready-file: {path} cannot be written ({error.strerror})")


def _settings(env_file: Path | None) -> Settings:
    config = Config(env_file=str(env_file)) if env_file is not None else None
    if env_file is not None and not env_file.is_file():
        _stop(f"--env-file: {env_file} is not a file")
    return resolve("somatrace", config)


def _need(*modules: str, extra: str) -> None:
    if any(importlib.util.find_spec(module) is None for module in modules):
        _stop(f"this command needs `pip install 'somatrace[{extra}]'`")


def _stop(message: str) -> NoReturn:
    typer.echo(f"somatrace: {message}", err=True)
    raise typer.Exit(2)
