"""What the commands share: settings from a file, lines to a pipe, errors on one line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from somatrace.config import Config, Settings, resolve

EnvFile = Annotated[
    Path | None, typer.Option(help="Read settings from this .env file; the environment takes precedence.")
]


def settings_of(env_file: Path | None) -> Settings:
    """The settings of a command; a file that is missing ends it."""
    config = Config(env_file=str(env_file)) if env_file is not None else None
    if env_file is not None and not env_file.is_file():
        stop(f"--env-file: {env_file} is not a file")
    return resolve("somatrace", config)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines; the reader of a pipe may have gone."""
    try:
        for line in lines:
            typer.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def stop(message: str) -> NoReturn:
    """End the command with one line and exit code 2."""
    typer.echo(f"somatrace: {message}", err=True)
    raise typer.Exit(2)
