"""Programs that start the command they are given: `exec`, `env`, `tini --`, `poetry run`."""

from __future__ import annotations

from posixpath import basename

from somatrace.check.launch.blocks import ASSIGNMENT

#: Wrapper programs that precede a command, and the number of arguments each takes.
_PREFIXES = {
    "exec": 0, "nohup": 0, "sudo": 0, "command": 0, "time": 0, "dumb-init": 0, "tini": 0, "catatonit": 0,
    "gosu": 1, "su-exec": 1, "timeout": 1, "stdbuf": 0, "nice": 0, "opentelemetry-instrument": 0,
    "ddtrace-run": 0, "xvfb-run": 0, "setpriv": 0, "chpst": 0, "env": 0, "eatmydata": 0, "unbuffer": 0,
    "catchsegv": 0, "wait-for-it": 1, "wait-for-it.sh": 1, "wait-for": 1, "pytest-watch": 0, "honcho": 0,
    "memray": 1,
}  # fmt: skip
_RUNNERS = {
    "poetry": ("run",), "uv": ("run",), "pipenv": ("run",), "pdm": ("run",), "hatch": ("run",),
    "rye": ("run",), "pixi": ("run",), "conda": ("run",), "newrelic-admin": ("run-program",),
    "doppler": ("run",), "infisical": ("run",), "micromamba": ("run",), "watchmedo": ("auto-restart",),
    "aws-vault": ("exec",),
}  # fmt: skip
_RUNNER_VALUES = {
    "-n", "-p", "--name", "--prefix", "--with", "--extra", "--group", "--python", "--project",
    "--directory", "--env-file", "--package", "-e", "--environment", "-C", "--config", "-d", "--pattern",
    "-E", "--only-group", "--no-group", "-g", "-u", "-s", "--signal", "-k", "--service_name",
    "--traces_exporter", "--metrics_exporter", "--logs_exporter", "--exporter_otlp_endpoint",
    "--exporter_otlp_protocol", "--with-requirements", "--index", "--no-package",
}  # fmt: skip


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
            _drop_options(rest)
        elif program in _PREFIXES:
            rest.pop(0)
            _drop_options(rest)
            if _PREFIXES[program]:
                del rest[: _PREFIXES[program]]
                _drop_options(rest)
        else:
            return tuple(rest)
    return ()


def _drop_options(rest: list[str]) -> None:
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            return
        if option in _RUNNER_VALUES and rest:
            rest.pop(0)
