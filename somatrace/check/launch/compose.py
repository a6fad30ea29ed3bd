"""Compose files: services built from the source tree, and their commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename, dirname, normpath
from typing import Any

from somatrace.check.launch import dockerfile, steps, words
from somatrace.check.launch.around import Launch, LaunchContext
from somatrace.check.launch.container import ContainerCommand, DeclaredCommand, Override
from somatrace.check.project.file_tree import beside
from somatrace.check.project.yaml_reader import YamlText

_NAME = re.compile(r"^(?:docker-)?compose[\w.-]*\.ya?ml$")


#: Images of Python itself.
_PYTHON = re.compile(r"(?:^|/)(?:python|pypy|uv|[\w.-]*-python)(?:[:@]|$)")
#: The directory of the file, as a source of a volume.
_HERE = re.compile(r"\$(?:PWD\b|\{PWD(?::-\.)?\})")


def is_compose(path: str) -> bool:
    """Whether the path has a compose file's name."""
    return bool(_NAME.match(basename(path)))


def launches(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """The services' processes. Those with a third-party image and no build are skipped, except Python's own
    image with directories of the tree in it.
    """
    folder = dirname(path)
    for document in documents:
        services = document.get("services") if isinstance(document, dict) else None
        for service in services.values() if isinstance(services, dict) else ():
            if isinstance(service, dict):
                yield from _service(path, folder, service, around)


def _service(path: str, folder: str, service: dict[str, Any], around: LaunchContext) -> list[Launch]:
    build = service.get("build")
    override = Override(
        path,
        command=container_command(service.get("command")),
        entrypoint=container_command(service.get("entrypoint")),
        workdir=str(service.get("working_dir") or ""),
        mounts=tuple(sorted(_mounts(service.get("volumes"), folder, around), key=lambda one: -len(one[0]))),
        variables=_variables(service.get("environment")),
    )
    if build is None:
        python = _PYTHON.search(str(service.get("image") or "")) and override.mounts
        return _started(override, around, ()) if python else []
    settings = build if isinstance(build, dict) else {"context": build}
    context = beside(folder, str(settings.get("context") or "."))
    if context.startswith("../"):
        return []
    name = str(settings.get("dockerfile") or "Dockerfile")
    image = beside(context, name)
    if around.tree.is_file(image):
        arguments = _variables(settings.get("args"))
        target = str(settings.get("target") or "")
        override = replace(override, context=context, target=target, arguments=arguments)
        return dockerfile.launches(image, around, override)
    return _started(override, around, (("/", context),))


def _started(override: Override, around: LaunchContext, mounts: tuple[tuple[str, str], ...]) -> list[Launch]:
    """The processes of a service without a Dockerfile."""
    where = replace(around, workdir="/", mounts=mounts, variables={}, pythonpath=())
    first = DeclaredCommand(override.entrypoint, override.origin)
    last = DeclaredCommand(override.command, override.origin)
    return dockerfile.started(first, last, override.applied(where))


def _mounts(volumes: Any, folder: str, around: LaunchContext) -> Iterator[tuple[str, str]]:
    """The directories and files of the tree that are mounted: `.:/app`, or `type: bind`."""
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, dict):
            source, target = str(volume.get("source") or ""), str(volume.get("target") or "")
        else:
            source, _, rest = _HERE.sub(".", str(volume)).partition(":")
            target = rest.partition(":")[0]
        source = _HERE.sub(".", source)
        if not source.startswith(".") or not target.startswith("/"):
            continue
        place = beside(folder, source)
        if around.tree.is_folder(place) or around.tree.is_file(place):
            yield normpath(target), place


def _variables(environment: Any) -> dict[str, str]:
    """The variables whose values the file holds."""
    if isinstance(environment, dict):
        pairs = [(str(name), value) for name, value in environment.items()]
    else:
        listed = environment if isinstance(environment, list) else ()
        pairs = [
            (name, value) for name, equals, value in (str(one).partition("=") for one in listed) if equals
        ]
    return {name: str(value) for name, value in pairs if value is not None and "$" not in str(value)}


def container_command(value: Any) -> ContainerCommand | None:
    """A command in compose syntax: a list, or text that is split without a shell."""
    if isinstance(value, list) and value:
        listed = tuple(str(word).replace("$$", "$") for word in value)
        return ContainerCommand(listed, "", getattr(value[0], "line", 1))
    if isinstance(value, YamlText) and value.strip():
        try:
            found = steps.split(value.replace("$$", "$"))
        except words.UnsplittableError:  # reported where the text is followed
            found = []
        if len(found) == 1:
            return ContainerCommand(found[0].words, "", value.line)
        return ContainerCommand((), str(value), value.line)
    return None
