"""The environment of a launched process: directories, mounts and variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import join, normpath

from somatrace.check.project.file_tree import FileTree, beside
from somatrace.check.run.loader import SearchRoot
from somatrace.check.run.process import ProcessStart


@dataclass(frozen=True, slots=True)
class LaunchOrigin:
    """The line that launches a process: a Dockerfile CMD, a Procfile entry, or a convention (line 0)."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A launched process. `problem` is the reason it cannot be followed, or empty."""

    origin: LaunchOrigin
    start: ProcessStart
    problem: str = ""
    target: str = ""
    #: no launcher names it: it is a process only if it serves, or works for ever
    if_it_works: bool = False


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """The environment a command runs in. `mounts` map image paths to directories or files in the tree."""

    tree: FileTree
    workdir: str = "/"
    mounts: tuple[tuple[str, str], ...] = (("/", ""),)
    variables: Mapping[str, str] = field(default_factory=dict)
    pythonpath: tuple[str, ...] = ()
    shared: tuple[SearchRoot, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    #: how many more scripts one launcher may start, shared by all that it starts
    scripts_left: list[int] | None = None

    def has_scripts_left(self) -> bool:
        """Count one script, and return whether it may be followed."""
        if self.scripts_left is not None:
            self.scripts_left[0] -= 1
        return self.scripts_left is None or self.scripts_left[0] >= 0

    def in_image(self, path: str) -> str:
        return normpath(join(self.workdir, path))

    def candidates(self, path: str) -> list[str]:
        """Candidate paths in the tree for an image path, best first."""
        wanted = self.in_image(path)
        found = []
        for target, source in sorted(self.mounts, key=lambda mount: -len(mount[0])):
            if wanted == target:
                found.append(source)
            elif wanted.startswith(target.rstrip("/") + "/"):
                found.append(beside(source, wanted[len(target.rstrip("/")) + 1 :]))
        return found

    def file(self, path: str) -> str | None:
        """The file in the tree that `path` refers to in the process."""
        return next((found for found in self.candidates(path) if self.tree.is_file(found)), None)

    def roots(self, *folders: str) -> tuple[SearchRoot, ...]:
        """The module search path of a process with these directories on it."""
        wanted = [self.in_image(folder) for folder in (*folders, *self.pythonpath)]
        found: dict[SearchRoot, None] = {}
        for folder in [*wanted, *(join(folder, "src") for folder in wanted)]:
            for root in self._below(folder):
                found[root] = None
        found.update(dict.fromkeys(self.shared))
        return tuple(found)

    def _below(self, folder: str) -> list[SearchRoot]:
        roots = [SearchRoot(path) for path in self.candidates(folder) if self.tree.is_folder(path)]
        for target, source in self.mounts:
            inner = target.removeprefix(folder.rstrip("/") + "/")
            if inner != target and not self.tree.is_folder(source):
                if "/" not in inner:
                    roots.append(SearchRoot(beside(source, "..")))
            elif inner != target and inner:
                roots.append(SearchRoot(source, inner.replace("/", ".")))
        return roots
