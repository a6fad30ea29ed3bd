"""The programs in a configuration of supervisord (http://supervisord.org/configuration.html)."""

from __future__ import annotations

import re
from typing import NamedTuple

from somatrace.check.launch.around import LaunchContext, WrittenFile
from somatrace.check.project.file_tree import FileTree, is_test

SECTION = "[program:"
#: https://supervisord.org/configuration.html#configuration-file
_DEFAULTS = (
    "supervisord.conf",
    "etc/supervisord.conf",
    "/etc/supervisord.conf",
    "/etc/supervisor/supervisord.conf",
)
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


def in_image(around: LaunchContext, named: str) -> list[WrittenFile]:
    """The configurations of an image: those that its Dockerfile contains, or the one that is named and those
    that it copies to the directories where supervisord looks.
    """
    written = [file for file in around.written.values() if SECTION in file.text]
    if written:
        return written
    paths = [found for name in (named, *_DEFAULTS) if (found := around.file(name)) is not None][:1]
    paths += [source for target, source in around.mounts if target.startswith("/etc/supervisor")]
    known = dict.fromkeys(path for path in paths if is_configuration(path, around.tree))
    return [WrittenFile(around.tree.text(path) or "", path, 1) for path in known]


def is_configuration(path: str, tree: FileTree) -> bool:
    """Whether a file of the tree holds programs of supervisord."""
    return path.endswith((".conf", ".ini")) and SECTION in (tree.text(path) or "")


def in_tree(tree: FileTree) -> bool:
    """Whether the tree has a configuration, which counts as a launcher by itself."""
    return any(is_configuration(path, tree) for path in tree.files if not is_test(path))
