"""Images of Python code that do not say which code they start."""

from __future__ import annotations

import re
from dataclasses import replace
from posixpath import basename

from somatrace.check.launch import dockerfile, instructions, starters, steps, words
from somatrace.check.launch.around import LaunchContext
from somatrace.check.launch.container import ContainerCommand
from somatrace.check.launch.copies import contexts_of, mounts
from somatrace.check.launch.wrappers import bare


def uncommanded(path: str, around: LaunchContext, base: re.Pattern[str]) -> int:
    """The line of the last FROM of an image of such a base that holds Python and has no command, or 0."""
    text = around.tree.text(path) or ""
    found = dockerfile.stages(text)
    if not found or found[-1].entrypoint or found[-1].command or not base.search(found[-1].base):
        return 0
    stage = found[-1]
    inside = replace(around, mounts=mounts(stage, around.tree, contexts_of(path, stage, around.tree)[0]))
    if not inside.mounts or not inside.holds_python():
        return 0
    return max(one.line for one in instructions.read(text).found if one.name == "FROM")


def unknown_program(path: str, around: LaunchContext, base: re.Pattern[str]) -> ContainerCommand | None:
    """The command of an image of such a base that holds Python, if it starts a program that is not known."""
    found = dockerfile.stages(around.tree.text(path) or "")
    command = (found[-1].entrypoint or found[-1].command) if found else None
    if command is None or not base.search(found[-1].base):
        return None
    stage = found[-1]
    inside = replace(around, mounts=mounts(stage, around.tree, contexts_of(path, stage, around.tree)[0]))
    inside = replace(inside, workdir=stage.workdir, written=stage.written)
    argv = bare(command.words or _last(command.shell))
    known = not argv or inside.file(argv[0]) is not None or inside.in_image(argv[0]) in stage.written
    if (
        known
        or inside.on_path(argv[0])
        or not inside.holds_python()
        or not starters.is_unknown(basename(argv[0]))
    ):
        return None
    return ContainerCommand(argv, "", command.line)


def _last(text: str) -> tuple[str, ...]:
    """The last command of a shell text."""
    try:
        found = steps.split(text)
    except words.UnsplittableError:
        return ()
    return found[-1].words if found else ()
