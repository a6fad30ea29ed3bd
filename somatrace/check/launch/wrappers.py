"""Programs that start the command they are given: `exec`, `env`, `tini --`, `poetry run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from posixpath import basename
from types import MappingProxyType

from somatrace.check.launch.around import LaunchContext
from somatrace.check.launch.shell_blocks import ASSIGNMENT
from somatrace.check.launch.words import SHELLS

#: Wrapper programs that precede a command, and the number of arguments each takes.
_PREFIXES = {
    "exec": 0, "nohup": 0, "sudo": 0, "command": 0, "time": 0, "dumb-init": 0, "tini": 0, "catatonit": 0,
    "gosu": 1, "su-exec": 1, "timeout": 1, "stdbuf": 0, "nice": 0, "opentelemetry-instrument": 0,
    "ddtrace-run": 0, "xvfb-run": 0, "setpriv": 0, "chpst": 0, "env": 0, "eatmydata": 0, "unbuffer": 0,
    "catchsegv": 0, "wait-for-it": 1, "wait-for-it.sh": 1, "wait-for": 1, "wait-for.sh": 1, "pytest-watch": 0,
    "honcho": 0, "memray": 1, "dockerize": 0, "uvx": 0, "init": 0, "my_init": 0, "with-contenv": 0,
    "s6-setuidgid": 1, "setuidgid": 1, "s6-envdir": 1, "fdmove": 2, "s6-notifyoncheck": 0, "foreground": 0,
}  # fmt: skip
#: Well-known scripts that wait for a host; their command follows two dashes.
_WAITS = frozenset(["wait-for-it", "wait-for-it.sh", "wait-for", "wait-for.sh"])
_RUNNERS = {
    "poetry": ("run",), "uv": ("run",), "pipenv": ("run",), "pdm": ("run",), "hatch": ("run",),
    "rye": ("run",), "pixi": ("run",), "conda": ("run",), "newrelic-admin": ("run-program",),
    "doppler": ("run",), "infisical": ("run",), "micromamba": ("run",), "watchmedo": ("auto-restart",),
    "aws-vault": ("exec",), "pipx": ("run",),
}  # fmt: skip
_RUNNER_VALUES = {
    "-n", "-p", "--name", "--prefix", "--with", "--extra", "--group", "--python", "--project",
    "--directory", "--env-file", "--package", "-e", "--environment", "-C", "--config", "-d", "--pattern",
    "-E", "--only-group", "--no-group", "-g", "-u", "-s", "--signal", "-k", "--service_name",
    "--traces_exporter", "--metrics_exporter", "--logs_exporter", "--exporter_otlp_endpoint",
    "--exporter_otlp_protocol", "--with-requirements", "--index", "--no-package", "--with-editable",
    "--no-extra", "--config-file", "--cache-dir", "--default-index", "--chdir", "--from", "--spec",
    "-wait", "-timeout", "-template", "-stdout", "-stderr", "-wait-retry-interval", "-wait-http-header",
}  # fmt: skip
#: Options of uv that take a module or a script (https://docs.astral.sh/uv/reference/cli/#uv-run).
_PYTHON_OPTIONS = {
    "-m": ["python", "-m"], "--module": ["python", "-m"], "-s": ["python"], "--script": ["python"],
    "--gui-script": ["python"],
}  # fmt: skip
#: Options that name the directory in which the command runs.
_FOLDERS = {"uv": {"--directory"}, "poetry": {"-C", "--directory"}, "env": {"-C", "--chdir"}}


def bare(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command without leading wrapper programs."""
    rest = list(argv)
    while rest:
        program = basename(rest[0])
        if ASSIGNMENT.match(rest[0]):
            rest.pop(0)
        elif program in _RUNNERS and len(rest) > 1:
            if _RUNNERS[program][0] not in rest[:4]:
                return tuple(rest)
            del rest[: rest.index(_RUNNERS[program][0]) + 1]
            _drop_options(rest, _PYTHON_OPTIONS if program == "uv" else {})
        elif program in SHELLS and len(rest) > 1 and basename(rest[1]) in _WAITS:
            rest.pop(0)
        elif program in _WAITS and "--" in rest:
            del rest[: rest.index("--") + 1]
        elif program in _PREFIXES:
            rest.pop(0)
            _drop_options(rest)
            if _PREFIXES[program]:
                del rest[: _PREFIXES[program]]
                _drop_options(rest)
        else:
            return tuple(rest)
    return ()


def surroundings(argv: tuple[str, ...], around: LaunchContext) -> LaunchContext:
    """With the variables and the directory that are set for this command alone: `FLASK_APP=web flask run`."""
    front = takewhile(lambda word: bool(ASSIGNMENT.match(word)) or word in {"env", "exec"}, argv)
    given = dict(word.split("=", 1) for word in front if "=" in word)
    folder = _folder(argv)
    if folder:
        around = replace(around, workdir=around.in_image(folder))
    return replace(around, variables={**around.variables, **given}) if given else around


def _folder(argv: tuple[str, ...]) -> str:
    """The directory that a wrapper enters before it starts the command; empty if none does."""
    options: set[str] = set()
    for number, word in enumerate(argv[: len(argv) - len(bare(argv))]):
        options = _FOLDERS.get(basename(word), options)
        name, equals, value = word.partition("=")
        if name in options:
            return value if equals else "".join(argv[number + 1 : number + 2])
    return ""


def _drop_options(rest: list[str], python: Mapping[str, list[str]] = MappingProxyType({})) -> None:
    """Drop the options before a command; what `python` replaces is the command."""
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in python:
            rest[:0] = python[option]
            return
        if option == "--":
            return
        if option in _RUNNER_VALUES and rest:
            rest.pop(0)
