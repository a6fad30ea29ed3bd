"""Launchers in Procfiles, supervisord files, serverless.yml, SAM templates and pyproject scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import dirname
from typing import Any

from somatrace.check.launch import commands, dockerfile, servers, supervised
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.compose import container_command
from somatrace.check.launch.container import Override
from somatrace.check.launch.words import unquoted
from somatrace.check.project import toml_reader
from somatrace.check.project.file_tree import beside

_ONE_OFF = {"release", "migrate", "postdeploy", "console", "shell", "test", "assets"}
_ENTRY = re.compile(r"^([A-Za-z0-9_-]+):(.*)$")
_SCRIPT = re.compile(r"(?:[\"'\[,]|^)[ \t]*([\w.-]+)[ \t]*=[ \t]*(\w+(?:\.\w+)*:\w+(?:\.\w+)*)", re.MULTILINE)


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
    for program in supervised.programs(around.tree.text(path) or ""):
        inside = _in(around, dirname(path))
        if program.folder.startswith("/"):
            places = ((program.folder, dirname(path)), (program.folder, ""))
            inside = replace(inside, workdir=program.folder, mounts=places)
        elif program.folder:
            inside = _in(around, beside(dirname(path), program.folder))
        yield from commands.text(program.command, inside, LaunchOrigin(path, program.line, program.command))


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


def functions(
    path: str, documents: list[Any], around: LaunchContext, images: tuple[str, ...]
) -> Iterator[Launch]:
    """Handlers in serverless.yml and SAM: the module is imported once, the handler called per invocation.

    A function of SAM takes from `Globals` what it does not set itself (see "Globals section of the AWS SAM
    template", https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/).
    """
    for document in documents:
        if not isinstance(document, dict):
            continue
        shared = document.get("provider")
        for function in _named(document.get("functions")):
            if _is_python({**(shared if isinstance(shared, dict) else {}), **function}, "runtime"):
                yield from _handler(path, function.get("handler"), "", around)
        settings = document.get("Globals")
        common = settings.get("Function") if isinstance(settings, dict) else None
        for resource in _named(document.get("Resources")):
            if str(resource.get("Type", "")).endswith("Serverless::Function"):
                properties = resource.get("Properties")
                given = {
                    **(common if isinstance(common, dict) else {}),
                    **(properties if isinstance(properties, dict) else {}),
                }
                yield from _function(path, resource, given, around, images)


def _function(
    path: str,
    resource: dict[str, Any],
    given: dict[str, Any],
    around: LaunchContext,
    images: tuple[str, ...],
) -> Iterator[Launch]:
    """A function of SAM: a handler in its CodeUri, or an image, whose command ImageConfig may replace."""
    if given.get("PackageType") != "Image":
        if _is_python(given, "Runtime"):
            yield from _handler(path, given.get("Handler"), str(given.get("CodeUri") or ""), around)
        return
    built, settings = resource.get("Metadata"), given.get("ImageConfig")
    command = container_command(settings.get("Command")) if isinstance(settings, dict) else None
    if not isinstance(built, dict) or command is None:
        return
    context = beside(dirname(path), str(built.get("DockerContext") or "."))
    image = beside(context, str(built.get("Dockerfile") or "Dockerfile"))
    if image in images:
        target = str(built.get("DockerBuildTarget") or "")
        yield from dockerfile.launches(image, around, Override(path, context, target, command))


def _is_python(settings: dict[str, Any], name: str) -> bool:
    """Whether a function's runtime is Python, or not known."""
    return str(settings.get(name) or "python").startswith(("python", "$"))


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
