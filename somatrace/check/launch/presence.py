"""Whether the code that a launcher names is in the tree."""

from __future__ import annotations

from collections.abc import Sequence

from somatrace.check.launch.around import Launch
from somatrace.check.project.file_tree import FileTree
from somatrace.check.project.source import Sources
from somatrace.check.run.loader import Loader


def is_here(launch: Launch, tree: FileTree) -> bool:
    """Whether a process's code is in the tree."""
    if launch.start.kind == "script":
        return tree.is_file(launch.start.path)
    found = Loader(tree, Sources(tree), launch.start.roots).find(launch.start.name)
    return found is not None and bool(found.path or found.folders)


def is_followed(launches: Sequence[Launch], tree: FileTree) -> bool:
    """Whether there are processes, and each can be followed."""
    return bool(launches) and all(not one.problem and is_here(one, tree) for one in launches)


def without_guesses(launches: Sequence[Launch], tree: FileTree) -> list[Launch]:
    """Without images that cannot be followed by their Dockerfile alone, where a compose file says how."""
    alone = {_line(launch) for launch in launches if launch.alone}
    told = {
        _line(one) for one in launches if not one.alone and _line(one) in alone and is_followed([one], tree)
    }
    return [one for one in launches if not one.alone or _line(one) not in told or is_followed([one], tree)]


def _line(launch: Launch) -> tuple[str, int]:
    return launch.origin.path, launch.origin.line
