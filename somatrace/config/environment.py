"""Lookup of variables by name: in the process, in secret files, and in a `.env` file.

Nothing here writes to `os.environ`: it belongs to the program.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from somatrace.config.parsers import BadValueError

MAX_FILE: Final = 64 * 1024
#: variables that may also be given as `<NAME>_FILE`, the path of a file with the value
IN_FILES: Final = frozenset(
    {
        "SOMATRACE_HEADERS",
        "SOMATRACE_LANGFUSE_PUBLIC_KEY",
        "SOMATRACE_LANGFUSE_SECRET_KEY",
        "SOMATRACE_TRUST_KEYS",
        "SOMATRACE_PSEUDONYM_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "LANGFUSE_PUBLIC_KEY",
        "LANGFUSE_SECRET_KEY",
    }
)
_ASSIGNMENT: Final = r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)"
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
_LITERAL: Final = r"'([^']*)'\s*(?:#.*)?"
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?'

ReportProblem = Callable[[str, str], object]


class FoundVariable(NamedTuple):
    """A variable that is set. `value` is None if it names a file that cannot be read."""

    value: str | None
    source: str


class Environment:
    """Variables by name: the process first, then the `.env` file. Empty means not set (OTel spec)."""

    def __init__(self, process: Mapping[str, str], report: ReportProblem) -> None:
        self._report = report
        self._layers: list[tuple[Mapping[str, str], str]] = [(process, "")]
        self._cache: dict[str, FoundVariable | None] = {}

    def add_file(self, setting: str, path: str) -> None:
        """Fall back to the `.env` file at `path` for variables that the process does not set."""
        try:
            content = read_file(path)
        except BadValueError as bad:
            self._report(setting, f"the file {bad}")
            return
        variables, wrong = parse_env(content)
        if wrong:
            self._report(setting, f"line {', '.join(map(str, wrong[:5]))} of the file is not KEY=VALUE")
        self._layers.append((variables, " (env file)"))
        self._cache.clear()

    def names(self) -> Iterator[tuple[str, str]]:
        """The name and source of every variable that is set."""
        seen: set[str] = set()
        for variables, suffix in self._layers:
            for name, value in variables.items():
                if name not in seen and value.strip():
                    seen.add(name)
                    yield name, name + suffix

    def get(self, name: str) -> FoundVariable | None:
        """The value of `name`, or None if it is not set."""
        if name not in self._cache:
            self._cache[name] = self._look_up(name)
        return self._cache[name]

    def _look_up(self, name: str) -> FoundVariable | None:
        for variables, suffix in self._layers:
            value = variables.get(name, "")
            path = variables.get(f"{name}_FILE", "").strip() if name in IN_FILES else ""
            if value.strip():
                if path:
                    self._report(f"{name}_FILE", f"ignored because {name} is also set: remove one of them")
                return FoundVariable(value, name + suffix)
            if path:
                return self._from_file(f"{name}_FILE", path, suffix)
        return None

    def _from_file(self, name: str, path: str, suffix: str) -> FoundVariable:
        try:
            content = read_file(path).strip()
        except BadValueError as bad:
            self._report(name, f"the file {bad}")
            return FoundVariable(None, name + suffix)
        if not content:
            self._report(name, "the file is empty")
        return FoundVariable(content or None, name + suffix)


def read_file(path: str) -> str:
    """The text of a small regular file (links are followed). Never blocks, as opening a pipe would."""
    try:
        handle = os.open(os.path.expanduser(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # noqa: PTH111
    except (OSError, ValueError):
        raise BadValueError("cannot be opened: check path and permissions") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadValueError("is not a regular file")
        content = os.read(handle, MAX_FILE + 1)
    except OSError:
        raise BadValueError("cannot be read") from None
    finally:
        os.close(handle)
    if len(content) > MAX_FILE:
        raise BadValueError(f"is larger than {MAX_FILE} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadValueError("is not UTF-8 text") from None


def parse_env(content: str) -> tuple[dict[str, str], list[int]]:
    r"""The variables of a `.env` file, and the numbers of invalid lines.

    `KEY=VALUE` with an optional `export`, quotes ('literal', "with \n escapes") and `#` comments.
    """
    variables: dict[str, str] = {}
    wrong: list[int] = []
    for position, line in enumerate(content.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = re.fullmatch(_ASSIGNMENT, stripped)
        value = None if match is None else _unquoted(match[2])
        if match is None or value is None:
            wrong.append(position)
        else:
            variables[match[1]] = value
    return variables, wrong


def _unquoted(raw: str) -> str | None:
    """The value without quotes and comment, or None if a quote is not closed."""
    if match := re.fullmatch(_LITERAL, raw):
        return match[1]
    if match := re.fullmatch(_QUOTED, raw):
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match[1])
    if raw[:1] in ("'", '"'):
        return None
    return re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
