"""Launchers of hosting platforms: the start commands in their files.

Each is read as its documentation says:

- Render, https://render.com/docs/blueprint-spec: `startCommand` starts a service of `render.yaml` in its
  `rootDir`; a Docker service runs its image, with `dockerCommand` instead of the image's command.
- Railway, https://docs.railway.com/reference/config-as-code: `deploy.startCommand` of `railway.json` or
  `railway.toml` replaces the entrypoint of an image, which is used where there is a Dockerfile.
- Nixpacks, https://nixpacks.com/docs/configuration/file, and Railpack, https://railpack.com/config/file:
  `start.cmd` and `deploy.startCommand`.
- Fly, https://fly.io/docs/reference/configuration/: each of `processes` is a command of the image;
  `release_command` is one-off.
- App Engine, https://cloud.google.com/appengine/docs/standard/python3/runtime: `entrypoint` of `app.yaml`,
  otherwise gunicorn with `main:app`.
- App Runner, https://docs.aws.amazon.com/apprunner/latest/dg/config-file-ref.html: `run.command`.
- Heroku, https://devcenter.heroku.com/articles/heroku-yml-build-manifest: the commands below `run`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from posixpath import basename, dirname
from typing import Any

from somatrace.check.launch import commands, dockerfile
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.compose import container_command
from somatrace.check.launch.container import ContainerCommand, Override
from somatrace.check.project import toml_reader
from somatrace.check.project.file_tree import beside
from somatrace.check.project.yaml_reader import YamlText

_MAX_JSON = 512_000
_PYTHON_ENGINE = re.compile(r"^runtime:[ \t]*[\"']?python", re.MULTILINE)
_ENGINE_FILE = re.compile(r"(?:[\w-]+[._-])?app(?:[._-][\w-]+)*\.ya?ml")


def yaml_reader_of(path: str, text: str) -> Callable[..., Iterator[Launch]] | None:
    """The reader of a YAML file that a platform starts processes from, or None."""
    name = basename(path)
    if name in {"render.yaml", "render.yml"}:
        return render
    if name in {"apprunner.yaml", "apprunner.yml"}:
        return app_runner
    if name in {"heroku.yml", "heroku.yaml"}:
        return heroku
    if _ENGINE_FILE.fullmatch(name) and _PYTHON_ENGINE.search(text):
        return app_engine
    return None


def settings(path: str, around: LaunchContext) -> Iterator[Launch]:
    """The processes of a platform's TOML or JSON file."""
    reader = _SETTINGS.get(basename(path))
    if reader is None:
        return
    data = _loaded(path, around.tree.text(path) or "")
    yield from reader(path, data, around)


def _loaded(path: str, text: str) -> dict[str, Any]:
    """The tables of a file; none if it is no TOML or JSON."""
    try:
        if path.endswith(".toml"):
            return toml_reader.load(text)
        found = json.loads(text) if len(text) <= _MAX_JSON else None
    except (toml_reader.UnreadableTomlError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _at(data: Any, *names: str) -> Any:
    """The value below some keys; None if there is none."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _started(path: str, command: Any, around: LaunchContext, folder: str = "") -> list[Launch]:
    """The processes of a command that a shell runs in the directory of its file, or below it."""
    if isinstance(command, list):
        command = " ".join(str(word) for word in command)
    if not isinstance(command, str) or not command.strip():
        return []
    place = beside(dirname(path), folder)
    if place.startswith("../"):
        return []
    origin = LaunchOrigin(path, _line(path, command, around), " ".join(command.split()))
    return commands.text(command.strip(), around.at(place), origin)


def _line(path: str, value: str, around: LaunchContext) -> int:
    """The line of a value in its file."""
    line = getattr(value, "line", 0)
    if not line:
        text = around.tree.text(path) or ""
        first = value.strip().split("\n")[0]
        place = max(text.find(first), text.find(json.dumps(first)[1:-1]), 0)
        line = text.count("\n", 0, place) + 1
    return int(line)


def _command(path: str, value: Any, around: LaunchContext) -> ContainerCommand | None:
    """A command in a platform's file, as one of an image."""
    if isinstance(value, str) and value.strip() and not isinstance(value, YamlText):
        value = YamlText.at(value, _line(path, value, around))
    found = container_command(value)
    if found is not None and isinstance(value, list):
        return ContainerCommand(found.words, "", _line(path, str(value[0]), around))
    return found


def _image(path: str, named: Any, around: LaunchContext, folder: str = "") -> str:
    """The Dockerfile that a platform builds; empty if there is none."""
    image = beside(beside(dirname(path), folder), named if isinstance(named, str) else "Dockerfile")
    return image if around.tree.is_file(image) else ""


def _listed(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def render(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """The services of a Blueprint."""
    for document in documents:
        groups = [document, _at(document, "ungrouped")]
        for project in _listed(_at(document, "projects")):
            groups += _listed(project.get("environments"))
        for group in groups:
            for service in _listed(_at(group, "services")):
                yield from _render_service(path, service, around)


def _render_service(path: str, service: dict[str, Any], around: LaunchContext) -> list[Launch]:
    runtime = str(service.get("runtime") or service.get("env") or "")
    folder = str(service.get("rootDir") or "")
    if runtime != "docker":
        return _started(path, service.get("startCommand"), around, folder)
    image = _image(path, service.get("dockerfilePath"), around, folder)
    command = _command(path, service.get("dockerCommand"), around)
    if not image or command is None:
        return []
    context = beside(beside(dirname(path), folder), str(service.get("dockerContext") or "."))
    return dockerfile.launches(image, around, Override(path, context, command=command))


def railway(path: str, data: dict[str, Any], around: LaunchContext) -> Iterator[Launch]:
    """The start command, and those of single environments."""
    image = _image(path, _at(data, "build", "dockerfilePath"), around)
    environments = _at(data, "environments")
    for settings in [data, *(environments.values() if isinstance(environments, dict) else ())]:
        command = _at(settings, "deploy", "startCommand")
        if image:
            replaced = _command(path, command, around)
            if replaced is not None:
                yield from dockerfile.launches(image, around, Override(path, entrypoint=replaced))
        else:
            yield from _started(path, command, around)


def _nixpacks(path: str, data: dict[str, Any], around: LaunchContext) -> Iterator[Launch]:
    yield from _started(path, _at(data, "start", "cmd"), around)


def _railpack(path: str, data: dict[str, Any], around: LaunchContext) -> Iterator[Launch]:
    yield from _started(path, _at(data, "deploy", "startCommand"), around)


def fly(path: str, data: dict[str, Any], around: LaunchContext) -> Iterator[Launch]:
    """The processes, each with the entrypoint of the image."""
    if _at(data, "build", "image"):
        return
    image = _image(path, _at(data, "build", "dockerfile"), around)
    entrypoint = _command(path, _at(data, "experimental", "entrypoint"), around)
    processes = _at(data, "processes")
    given = [*processes.values()] if isinstance(processes, dict) else []
    given = given or [_at(data, "experimental", "cmd")]
    for value in given:
        command = _command(path, value, around)
        if image and (command is not None or entrypoint is not None):
            yield from dockerfile.launches(image, around, Override(path, None, "", command, entrypoint))
        elif not image:
            yield from _started(path, value, around)


def app_engine(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """The entrypoint, or gunicorn's default."""
    for document in documents:
        command = _at(document, "entrypoint")
        if command:
            yield from _started(path, command, around)
        elif around.tree.is_file(beside(dirname(path), "main.py")):
            command = YamlText.at("gunicorn main:app", getattr(_at(document, "runtime"), "line", 1))
            yield from _started(path, command, around)


def app_runner(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """The command that runs."""
    for document in documents:
        yield from _started(path, _at(document, "run", "command"), around)


def heroku(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """The commands of the process types."""
    for document in documents:
        run = _at(document, "run")
        for name, value in run.items() if isinstance(run, dict) else ():
            command = value.get("command") if isinstance(value, dict) else value
            image = _image(path, _at(document, "build", "docker", name), around)
            replaced = _command(path, command, around)
            if image and replaced is not None:
                yield from dockerfile.launches(image, around, Override(path, command=replaced))
            elif not image:
                yield from _started(path, command, around)


_SETTINGS: dict[str, Callable[[str, dict[str, Any], LaunchContext], Iterator[Launch]]] = {
    "railway.json": railway,
    "railway.toml": railway,
    "nixpacks.toml": _nixpacks,
    "nixpacks.json": _nixpacks,
    "railpack.json": _railpack,
    "fly.toml": fly,
}
