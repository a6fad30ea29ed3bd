"""The programs in a configuration of supervisord (http://supervisord.org/configuration.html)."""

from __future__ import annotations

import re
from typing import NamedTuple

from somatrace.check.project.file_tree import FileTree, is_test

SECTION = "[program:"
_SECTION = re.compile(r"^\s*\[(?:program|fcgi-program):([^\]]+)\]")


class SupervisedProgram(NamedTuple):
    """A program's command, with shell variables, the directory it runs in, and the line of the command."""

    command: str
    folder: str
    line: int


def programs(text: str, first: int = 1) -> list[SupervisedProgram]:
    """The programs of a configuration whose text begins at a line."""
    found: list[SupervisedProgram] = []
    section: dict[str, tuple[str, int]] = {}
    for number, line in enumerate([*text.split("\n"), "[end]"], first):
        if line.lstrip().startswith("["):
            if "command" in section:
                command, place = section["command"]
                command = re.sub(r"%\(ENV_(\w+)\)s", r"${\1}", command)
                found.append(SupervisedProgram(command, section.get("directory", ("", 0))[0], place))
            section = {"": ("", number)} if _SECTION.match(line) else {}
        elif section and "=" in line and not line.lstrip().startswith((";", "#")):
            name, _, value = line.partition("=")
            section[name.strip()] = (re.split(r"\s;", value)[0].strip(), number)
    return found


def is_configuration(path: str, tree: FileTree) -> bool:
    """Whether a file of the tree holds programs of supervisord."""
    return path.endswith((".conf", ".ini")) and SECTION in (tree.text(path) or "")


def in_tree(tree: FileTree) -> bool:
    """Whether the tree has a configuration, which counts as a launcher by itself."""
    return any(is_configuration(path, tree) for path in tree.files if not is_test(path))
