"""uWSGI: the applications that it serves, and the programs that it starts beside them.

https://uwsgi-docs.readthedocs.io/en/latest/Options.html, and AttachingDaemons.html there. Options come from
the command line and from the ini file that it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import dirname
from typing import NamedTuple

from somatrace.check.launch import servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin

_SECTION = re.compile(r"^\s*\[([^\]]*)\]")
_OPTION = re.compile(r"^\s*([\w-]+)\s*=\s*([^\n]*?)\s*$")
_COMMENT = re.compile(r"\s+[;#][^\n]*$")
_MODULES = ("module", "wsgi", "w")
_FILES = ("wsgi-file", "file")
#: Options whose value is a command; before it, some take the file of a process id.
_DAEMONS = {"attach-daemon": 0, "attach-daemon2": 0, "smart-attach-daemon": 1, "legion-attach-daemon": 1}
_COMMAND = re.compile(r"(?:^|,)(?:cmd|command|exec)=([^,]+)")


class AttachedProgram(NamedTuple):
    """A command that uWSGI keeps running beside the application, where it runs, and where it is written."""

    command: str
    around: LaunchContext
    origin: LaunchOrigin


def uwsgi(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """The applications."""
    named, inside, _ = _read(options, around)
    launches = [one for target in _applications(named) for one in servers.imported(target, inside, origin)]
    return launches or [servers.undecidable(origin, "uwsgi", "uwsgi is given no application")]


def attached(
    options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin
) -> Iterator[AttachedProgram]:
    """The programs that uWSGI starts and keeps running: `attach-daemon`, `mule`."""
    named, inside, path = _read(options, around)
    for name, dropped in _DAEMONS.items():
        for value, line in named.get(name, ()):
            given = _COMMAND.search(value) if name == "attach-daemon2" else None
            command = given[1] if given else " ".join(value.split()[dropped:])
            where = LaunchOrigin(path, line, command) if line else origin
            yield AttachedProgram(command.replace("%(_)", "${_}"), inside, where)
    for value, line in named.get("mule", ()):
        if value.endswith(".py"):
            yield AttachedProgram(
                f"python {value}", inside, LaunchOrigin(path, line, value) if line else origin
            )


def _read(
    options: servers.ServerOptions, around: LaunchContext
) -> tuple[dict[str, list[tuple[str, int]]], LaunchContext, str]:
    """The options with their lines in the ini file (0 on the command line), what they set, and the file."""
    named = {name.lstrip("-"): [(value, 0)] for name, value in options.named.items()}
    settings = options.get("--ini") or next((word for word in options.rest if ".ini" in word), "")
    path, _, section = settings.partition(":")
    found = (around.file(path) if path else None) or ""
    if found:
        text = (around.tree.text(found) or "").replace("%d", f"{dirname(around.in_image(path))}/")
        for name, values in _settings(text, section).items():
            named.setdefault(name, []).extend(values)
    python = [value for name in ("pythonpath", "python-path", "pp") for value, _ in named.get(name, ())]
    workdir = around.in_image(_first(named, "chdir", "chdir2") or ".")
    inside = replace(around, workdir=workdir, pythonpath=(*around.pythonpath, *python))
    return named, inside, found


def _settings(text: str, section: str) -> dict[str, list[tuple[str, int]]]:
    """The options of an ini file with their lines: those of `[uwsgi]`, or of the section that is named."""
    found: dict[str, list[tuple[str, int]]] = {}
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        if match := _SECTION.match(line):
            inside = match[1] == (section or "uwsgi")
        elif inside and (match := _OPTION.match(_COMMENT.sub("", line))) and line.lstrip()[:1] not in ";#":
            found.setdefault(match[1], []).append((match[2], number))
    return found


def _first(named: dict[str, list[tuple[str, int]]], *names: str) -> str:
    return next((values[0][0] for name in names if (values := named.get(name))), "")


def _applications(named: dict[str, list[tuple[str, int]]]) -> Iterator[str]:
    """The applications as `module:attribute` or `file:attribute`."""
    attribute = _first(named, "callable") or "application"
    module = _first(named, *_MODULES)
    file = _first(named, *_FILES)
    mounted = [value.partition("=")[2] for value, _ in named.get("mount", ()) if "=" in value]
    for target in [*([module or file] if module or file else ()), *mounted]:
        yield target if ":" in target else f"{target}:{attribute}"
