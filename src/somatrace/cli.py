"""The commands. Bad input is one line that says what to do, and exit code 2."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from somatrace.config import Config, ConfigError, Settings, resolve
from somatrace.names import VERSION

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tracing for Python LLM services.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_EnvFile = Annotated[Path | None, typer.Option(help="Read settings from this .env file; the environment wins.")]


@app.callback()
def _root() -> None:
    """Keep `somatrace local` a sub-command while there is only one."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(VERSION)


@app.command()
def local(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 4318,
    host: Annotated[str, typer.Option(help="Address to bind; only loopback without --allow-remote.")] = "127.0.0.1",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the store lies; default SOMATRACE_DATA_DIR or the user's state.")
    ] = None,
    allow_remote: Annotated[bool, typer.Option(help="Bind an address that other machines reach.")] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write address and keys (JSON, mode 0600) here once it serves.")
    ] = None,
    env_file: _EnvFile = None,
) -> None:
    """Show traces on this machine, and take them: an ingester that speaks Langfuse's API."""
    _need("starlette", "uvicorn", "jinja2", extra="local")
    settings = _settings(env_file)
    from somatrace.local.server import ServeError, serve

    try:
        serve(
            host=host,
            port=port,
            data_dir=str(data_dir) if data_dir is not None else settings.data_dir,
            max_bytes=settings.local_max_bytes,
            max_days=settings.local_max_days,
            allow_remote=allow_remote,
            ready_file=ready_file,
        )
    except ServeError as error:
        _stop(str(error))


def _settings(env_file: Path | None) -> Settings:
    config = Config(env_file=str(env_file)) if env_file is not None else None
    try:
        if env_file is not None and not env_file.is_file():
            raise ConfigError(f"--env-file: {env_file} is not a file")
    except ConfigError as error:
        _stop(str(error))
    return resolve("somatrace", config)


def _need(*modules: str, extra: str) -> None:
    if any(importlib.util.find_spec(module) is None for module in modules):
        _stop(f"this command needs `pip install 'somatrace[{extra}]'`")


def _stop(message: str) -> None:
    typer.echo(f"somatrace: {message}", err=True)
    raise typer.Exit(2)
