"""Compose files: services built from the source tree, and their commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename, dirname
from typing import Any

from somatrace.check.launch import dockerfile, steps, words
from somatrace.check.launch.around import Launch, LaunchContext
from somatrace.check.launch.container import ContainerCommand, DeclaredCommand, Override
from somatrace.check.project.file_tree import beside
from somatrace.check.project.yaml_reader import YamlText

_NAME = re.compile(r"^(?:docker-)?compose[\w.-]*\.ya?ml$")


def is_compose(path: str) -> bool:
    """Whether the path has a compose file's name."""
    return bool(_NAME.match(basename(path)))


def launches(path: str, documents: list[Any], around: LaunchContext) -> Iterator[Launch]:
    """The services' processes; services with a third-party image and no build are skipped."""
    folder = dirname(path)
    for document in documents:
        services = document.get("services") if isinstance(document, dict) else None
        for service in services.values() if isinstance(services, dict) else ():
            if isinstance(service, dict) and (service.get("build") or service.get("command")):
                yield from _service(path, folder, service, around)


def _service(path: str, folder: str, service: dict[str, Any], around: LaunchContext) -> list[Launch]:
    build = service.get("build")
    command, entrypoint = (
        container_command(service.get("command")),
        container_command(service.get("entrypoint")),
    )
    if build is None:
        return []
    settings = build if isinstance(build, dict) else {"context": build}
    context = beside(folder, str(settings.get("context") or "."))
    if context.startswith("../"):
        return []
    name = str(settings.get("dockerfile") or "Dockerfile")
    image = beside(context, name)
    if around.tree.is_file(image):
        override = Override(path, context, str(settings.get("target") or ""), command, entrypoint)
        return dockerfile.launches(image, around, override)
    where = replace(around, workdir="/", mounts=(("/", context),))
    return dockerfile.started(DeclaredCommand(entrypoint, path), DeclaredCommand(command, path), where)


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
