"""Launchers in Procfiles, supervisord files, serverless.yml, SAM templates and pyproject scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import dirname
from typing import Any

from somatrace.check.launch import commands, servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.words import unquoted
from somatrace.check.project import toml_reader
from somatrace.check.project.file_tree import beside

_ONE_OFF = {"release", "migrate", "postdeploy", "console", "shell", "test", "assets"}
_ENTRY = re.compile(r"^([A-Za-z0-9_-]+):(.*)$")
_SCRIPT = re.compile(r"(?:[\"'\[,]|^)[ \t]*([\w.-]+)[ \t]*=[ \t]*(\w+(?:\.\w+)*:\w+(?:\.\w+)*)", re.MULTILINE)
_SECTION = re.compile(r"^\s*\[(?:program|fcgi-program):([^\]]+)\]")


def _in(around: LaunchContext, folder: str) -> LaunchContext:
    return replace(around, workdir="/", mounts=(("/", folder),))


def procfile(path: str, around: LaunchContext) -> Iterator[Launch]:
    """All process types except one-off ones."""
    for number, line in enumerate((around.tree.text(path) or "").split("\n"), 1):
        match = _ENTRY.match(line)
        command = match[2].strip() if match else ""
        if match and command and match[1] not in _ONE_OFF:
            origin = LaunchOrigin(path, number, f"{match[1]}: {command}")
            yield from commands.text(command, _in(around, dirname(path)), origin)


def supervisor(path: str, around: LaunchContext) -> Iterator[Launch]:
    """`[program:x] command=…`, in its `directory`."""
    section: dict[str, tuple[str, int]] = {}
    for number, line in enumerate([*(around.tree.text(path) or "").split("\n"), "[end]"], 1):
        if line.lstrip().startswith("["):
            yield from _program(path, section, around)
            section = {"": ("", number)} if _SECTION.match(line) else {}
        elif section and "=" in line and not line.lstrip().startswith((";", "#")):
            name, _, value = line.partition("=")
            section[name.strip()] = (re.split(r"\s;", value)[0].strip(), number)


def _program(path: str, section: dict[str, tuple[str, int]], around: LaunchContext) -> list[Launch]:
    if "command" not in section:
        return []
    command, line = section["command"]
    command = re.sub(r"%\(ENV_(\w+)\)s", r"${\1}", command)
    folder = section.get("directory", ("", 0))[0]
    inside = _in(around, dirname(path))
    if folder.startswith("/"):
        inside = replace(inside, workdir=folder, mounts=((folder, dirname(path)), (folder, "")))
    elif folder:
        inside = _in(around, beside(dirname(path), folder))
    return commands.text(command, inside, LaunchOrigin(path, line, command))


def project(path: str, around: LaunchContext) -> dict[str, tuple[str, int]]:
    """The console scripts of a pyproject.toml, setup.cfg or setup.py: name, target and line."""
    text = around.tree.text(path) or ""
    if not path.endswith(".toml"):
        return _setup_scripts(text)
    try:
        data = toml_reader.load(text)
    except toml_reader.UnreadableTomlError:
        return {}
    tool = data.get("tool", {})
    poetry = tool.get("poetry", {}) if isinstance(tool, dict) else {}
    found: dict[str, tuple[str, int]] = {}
    for table in (data.get("project", {}), poetry):
        scripts = table.get("scripts", {}) if isinstance(table, dict) else {}
        for name, target in scripts.items() if isinstance(scripts, dict) else ():
            if isinstance(target, str) and ":" in target:
                found[name] = (target, _line_of(text, target))
    return found


def _setup_scripts(text: str) -> dict[str, tuple[str, int]]:
    """`name = package.module:function`, after the words `console_scripts`."""
    found: dict[str, tuple[str, int]] = {}
    start = text.find("console_scripts")
    if start >= 0:
        for match in _SCRIPT.finditer(text, start):
            found.setdefault(match[1], (match[2], text.count("\n", 0, match.start(2)) + 1))
    return found


def _line_of(text: str, wanted: str) -> int:
    return text.count("\n", 0, max(text.find(wanted), 0)) + 1


def console(path: str, name: str, target: str, line: int, around: LaunchContext) -> Launch:
    """The process of a console script."""
    return servers.console(target, _in(around, dirname(path)), LaunchOrigin(path, line, f"{name} = {target}"))


def functions(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """Handlers in serverless.yml and SAM: the module is imported once, the handler called per invocation."""
    for document in documents:
        if not isinstance(document, dict):
            continue
        for function in _named(document.get("functions")):
            yield from _handler(path, function.get("handler"), "", around)
        for resource in _named(document.get("Resources")):
            if str(resource.get("Type", "")).endswith("Serverless::Function"):
                properties = resource.get("Properties")
                if isinstance(properties, dict):
                    yield from _handler(
                        path, properties.get("Handler"), str(properties.get("CodeUri") or ""), around
                    )


def _named(value: Any) -> list[dict[str, Any]]:
    return [one for one in value.values() if isinstance(one, dict)] if isinstance(value, dict) else []


def _handler(path: str, handler: Any, code: str, around: LaunchContext) -> Iterator[Launch]:
    if not isinstance(handler, str) or "." not in handler:
        return
    module, _, attribute = handler.rpartition(".")
    folder = beside(dirname(path), code) if code else dirname(path)
    origin = LaunchOrigin(path, getattr(handler, "line", 1), unquoted(handler, {}))
    inside = _in(around, folder)
    start = f"{module.replace('/', '.')}:{attribute}"
    yield from servers.imported(start, inside, origin, role="lambda")
