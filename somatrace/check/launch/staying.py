"""Which commands of a shell script are processes, by their place and by their program."""

from __future__ import annotations

import re
from posixpath import basename
from typing import Final

from somatrace.check.launch import programs, tasks, words
from somatrace.check.launch.around import LaunchContext
from somatrace.check.launch.steps import ShellStep
from somatrace.check.launch.wrappers import bare

PYTHON: Final = re.compile(r"^(?:python|pypy)(?:\d+(?:\.\d+)*)?(?:\.exe)?$|^python3?\.\d+$")


def stays(step: ShellStep, argv: tuple[str, ...], around: LaunchContext) -> bool:
    """Whether a command is a process by its place or its program."""
    if step.last or step.behind or step.words[0] == "exec" or programs.serves(argv):
        return True
    if basename(argv[0]) in words.SHELLS | {".", "source"}:
        return True
    return step.endless and _is_program(step.words, argv, around)


def _is_program(given: tuple[str, ...], argv: tuple[str, ...], around: LaunchContext) -> bool:
    """Whether a command runs Python, a console script of the tree, or a task of it."""
    name = basename(argv[0])
    if PYTHON.match(name) or argv[0].endswith(".py") or name in around.scripts:
        return True
    return tasks.named(given, argv, around) is not None


def may_stay(given: tuple[str, ...], argv: tuple[str, ...], around: LaunchContext) -> bool:
    """Whether a command in the foreground may be what its script is for, if nothing after it stays."""
    if _is_program(given, argv, around):
        return True
    return "$" not in argv[0] and "/" in argv[0] and around.file(argv[0]) is not None


def replaces(commands: list[ShellStep]) -> bool:
    """Whether a script ends as another program, to which what it runs before is preparation."""
    last = commands[-1].words if commands else ()
    return bool(last) and (
        last[0] == "exec" or basename(bare(last)[0] if bare(last) else "") in programs.OTHERS
    )
