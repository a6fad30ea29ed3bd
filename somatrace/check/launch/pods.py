"""Kubernetes manifests: containers that set a command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename
from typing import Any

from somatrace.check.launch import dockerfile
from somatrace.check.launch.around import Launch, LaunchContext
from somatrace.check.launch.compose import container_command
from somatrace.check.launch.container import DeclaredCommand, Override

#: `Service` is Knative's, https://knative.dev/docs/serving/; one of Kubernetes itself has no containers.
KINDS = frozenset([
    "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Rollout", "Service", "InferenceService",
])  # fmt: skip
#: They start again and again: Kubernetes' own, those of Argo Workflows and of KEDA. What runs once is a tool.
RECURRING = frozenset(["CronJob", "CronWorkflow", "ScaledJob"])
_MOST_DEPTH = 12
#: A command that a template fills in, lines of Helm and Jinja that are no YAML, and values.
_TEMPLATE_COMMAND = re.compile(r"\b(command|args):[ \t]*\n[ \t]*\{\{[^{}]*\}\}[ \t]*$", re.MULTILINE)
_TEMPLATE_LINE = re.compile(r"^[ \t]*(?:\{\{[^{}]*\}\}|\{%[^{}]*%\})[ \t]*$", re.MULTILINE)
_TEMPLATE_VALUE = re.compile(r"\{\{[^{}]*\}\}")


def launches(
    path: str,
    documents: list[Any],
    around: LaunchContext,
    images: tuple[str, ...],
    kinds: frozenset[str] = KINDS,
) -> Iterator[Launch]:
    """Containers that set a command. Jobs and init containers are one-off."""
    for document in documents:
        if isinstance(document, dict) and document.get("kind") in kinds:
            for container in _containers(document, 0):
                yield from _container(path, container, around, images, alone=kinds is RECURRING)


def _containers(node: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _MOST_DEPTH or not isinstance(node, dict):
        return
    listed = node.get("containers")
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))
        return
    if isinstance(node.get("container"), dict):  # a template of Argo
        yield node["container"]
    for value in node.values():
        for one in value if isinstance(value, list) else (value,):
            yield from _containers(one, depth + 1)


def _container(
    path: str,
    container: dict[str, Any],
    around: LaunchContext,
    images: tuple[str, ...],
    *,
    alone: bool,
) -> list[Launch]:
    """The processes of a container. Without the image's directories, a missing target proves nothing,
    unless the container is `alone` in naming one.
    """
    command, arguments = container_command(container.get("command")), container_command(container.get("args"))
    if command is None and arguments is None:
        return []
    image = _image(str(container.get("image") or ""), images)
    if image is not None:
        return dockerfile.launches(image, around, Override(path, command=arguments, entrypoint=command))
    if command is None:
        return []
    where = replace(around, workdir=str(container.get("workingDir") or "/"))
    where = replace(where, mounts=((where.workdir, ""),))
    return [
        one
        for one in dockerfile.started(DeclaredCommand(command, path), DeclaredCommand(arguments, path), where)
        if alone or not one.problem
    ]


def _image(name: str, images: tuple[str, ...]) -> str | None:
    """The Dockerfile whose directory the image is named after, or the only Dockerfile."""
    short = basename(name.partition("@")[0]).partition(":")[0]
    for image in images:
        parts = image.split("/")
        if len(parts) > 1 and parts[-2] == short:
            return image
    return images[0] if len(images) == 1 else None


def without_templates(text: str) -> str:
    """A manifest that is a template, as YAML: without control lines, and with a variable for each value.

    What depends on the values, such as a command, is then known only at run time.
    """
    if "{{" not in text:
        return text
    text = _TEMPLATE_COMMAND.sub('\\1: ["$TEMPLATE"]\n', text)
    return _TEMPLATE_VALUE.sub("$TEMPLATE", _TEMPLATE_LINE.sub("", text))
