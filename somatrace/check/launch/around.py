"""The environment of a launched process: directories, mounts and variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from posixpath import dirname, join, normpath

from somatrace.check.project.file_tree import FileTree, beside
from somatrace.check.run.loader import SearchRoot
from somatrace.check.run.process import ProcessStart

_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class LaunchOrigin:
    """The line that launches a process: a Dockerfile CMD, a Procfile entry, or a convention (line 0)."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """The content of a file in an image that a here-document holds, and the line where it begins."""

    text: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A launched process. `problem` is the reason it cannot be followed, or empty."""

    origin: LaunchOrigin
    start: ProcessStart
    problem: str = ""
    target: str = ""
    #: what is assumed because nothing in the tree says it, and how to settle it
    guess: str = ""
    #: why it counts as a process that nothing names (ST042), and the line to report it at
    unnamed: str = ""
    line: int = 1
    #: no launcher names it: it is a process only if it serves, or works for ever
    if_it_works: bool = False
    #: an image as its Dockerfile alone tells it
    alone: bool = False


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """The environment a command runs in. `mounts` map image paths to directories or files in the tree: of two
    that hold a file, the first counts.
    """

    tree: FileTree
    workdir: str = "/"
    mounts: tuple[tuple[str, str], ...] = (("/", ""),)
    variables: Mapping[str, str] = field(default_factory=dict)
    pythonpath: tuple[str, ...] = ()
    shared: tuple[SearchRoot, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    #: files that the image's Dockerfile itself contains
    written: Mapping[str, WrittenFile] = field(default_factory=dict)
    #: how many more scripts one launcher may start, shared by all that it starts
    scripts_left: list[int] | None = None

    def counting(self, most: int) -> LaunchContext:
        """With a limit on the scripts that are started, unless there is one."""
        return self if self.scripts_left is not None else replace(self, scripts_left=[most])

    def has_scripts_left(self) -> bool:
        """Count one script, and return whether it may be followed."""
        if self.scripts_left is not None:
            self.scripts_left[0] -= 1
        return self.scripts_left is None or self.scripts_left[0] >= 0

    def at(self, folder: str) -> LaunchContext:
        """The context of a command that runs in a directory of the tree, as on a checkout of it."""
        return replace(self, workdir=f"/{folder}", mounts=(("/", ""),))

    def holds_python(self) -> bool:
        """Whether there is a Python file in what the process sees of the tree."""
        places = {source for _, source in self.mounts}
        return any(
            path in places or any(not place or path.startswith(f"{place}/") for place in places)
            for path in self.tree.files
            if path.endswith(".py")
        )

    def in_image(self, path: str) -> str:
        return normpath(join(self.workdir, path))

    def candidates(self, path: str) -> list[str]:
        """Candidate paths in the tree for an image path, best first."""
        wanted = self.in_image(path)
        found = []
        for target, source in self.mounts:
            if wanted == target:
                found.append(source)
            elif wanted.startswith(target.rstrip("/") + "/"):
                found.append(beside(source, wanted[len(target.rstrip("/")) + 1 :]))
        return found

    def file(self, path: str) -> str | None:
        """The file in the tree that `path` refers to in the process."""
        return next((found for found in self.candidates(path) if self.tree.is_file(found)), None)

    def on_path(self, program: str) -> str:
        """The path of a program that a search path of the image leads to a file of the tree; or empty."""
        if "/" in program:
            return ""
        searched = [one for one in self.variables.get("PATH", "").split(":") if one.startswith("/")]
        for folder in dict.fromkeys([*searched, *_PATH]):
            path = join(folder, program)
            if path in self.written or self.file(path) is not None:
                return path
        return ""

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
                package = dirname(inner)
                if not package or inner.endswith(".py"):
                    roots.append(SearchRoot(beside(source, ".."), package.replace("/", ".")))
            elif inner != target and inner:
                roots.append(SearchRoot(source, inner.replace("/", ".")))
        return roots
