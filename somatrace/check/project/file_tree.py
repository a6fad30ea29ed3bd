"""The files below a root: walked once and read within limits, without following loops or reading pipes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from posixpath import join, normpath

from somatrace.check.project.contained_files import UnreadableFileError, read_file, resolved

#: Directories never treated as a service. Imports may still resolve into a directory with such a name.
SKIPPED = frozenset(
    [
        "venv",
        "env",
        "node_modules",
        "build",
        "dist",
        "site-packages",
        "__pycache__",
        "__pypackages__",
        "notebooks",
        "vendor",
        "third_party",
    ]
)
TESTS = frozenset(["test", "tests", "testing", "fixtures", "testdata", "conftest", "e2e"])
#: Cached file content, in bytes: several rules read the same file in turn.
_HELD_BYTES = 64_000_000
_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file when read: bytes, last change in ns, and content SHA-256 or why it is missing."""

    size: int
    changed: int
    digest: str


class FileTree:
    """The files below a root. Paths are relative to it and use `/`; `""` is the root itself."""

    def __init__(self, root: Path, exclude: Iterable[str] = ()) -> None:
        self.root = os.path.realpath(root)
        self._exclude = tuple(exclude)
        self._stats: dict[str, os.stat_result | None] = {}
        self._states: dict[str, FileState] = {}
        self._probed: dict[str, bool] = {}
        self._held: dict[str, bytes] = {}
        self._held_bytes = 0
        self.files: dict[str, None] = {}
        #: pipes, sockets, broken links: existing paths that must not be read
        self.odd: set[str] = set()
        self.folders: dict[str, tuple[str, ...]] = {}
        self._listed: dict[str, list[str]] = {}
        self._walk()

    def _walk(self) -> None:
        waiting = [("", 0)]
        while waiting:
            folder, depth = waiting.pop()
            inner: list[str] = []
            for name, path, is_folder, is_file in self._entries(folder):
                if is_folder:
                    if depth < _MAX_DEPTH and not _skipped(name) and not self._excluded(path):
                        inner.append(name)
                        waiting.append((path, depth + 1))
                elif not is_file or self._excluded(path):
                    self.odd.add(path)
                else:
                    self.files[path] = None
                    self._listed.setdefault(folder, []).append(path)
            self.folders[folder] = tuple(sorted(inner))
        self.files = dict.fromkeys(sorted(self.files))

    def listed(self, folder: str) -> list[str]:
        """The files directly in a folder that was walked."""
        return self._listed.get(folder, [])

    def _entries(self, folder: str) -> Iterator[tuple[str, str, bool, bool]]:
        try:
            with os.scandir(self._real(folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    is_folder = entry.is_dir(follow_symlinks=False)
                    yield entry.name, path, is_folder, not is_folder and self._is_regular(entry, path)
        except OSError:
            return

    def _is_regular(self, entry: os.DirEntry[str], path: str) -> bool:
        """Whether the entry is a regular file, or a link to one inside the tree."""
        try:
            return entry.is_file() and (not entry.is_symlink() or resolved(self.root, path) is not None)
        except OSError:  # a self-referencing link
            return False

    def _real(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _excluded(self, path: str) -> bool:
        return any(fnmatch(path, pattern) or fnmatch(path, f"{pattern}/*") for pattern in self._exclude)

    def is_file(self, path: str) -> bool:
        """Whether the path exists and is not a directory."""
        if path in self.files:
            return True
        if path.rpartition("/")[0] in self.folders:
            return path in self.odd and not self.is_folder(path)
        found = self._stat(path)
        return found is not None and not stat.S_ISDIR(found.st_mode)

    def is_folder(self, path: str) -> bool:
        if path in self.folders:
            return True
        found = self._stat(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def _stat(self, path: str) -> os.stat_result | None:
        """The path's status; None if it is missing, leads out of the root, or has an invalid name."""
        if path not in self._stats:
            if self._is_below_nothing(path):
                return None
            self._stats[path] = self._look(path)
        return self._stats[path]

    def _is_below_nothing(self, path: str) -> bool:
        """Whether the walk has shown that one of the path's directories does not exist."""
        folder, inner = path.rpartition("/")[0], path
        while folder and folder not in self.folders:
            folder, inner = folder.rpartition("/")[0], folder
        name = inner.rpartition("/")[2]
        if inner == path or name in {"", ".", ".."} or inner in self.odd or folder not in self.folders:
            return False
        return not (_skipped(name) or folder.count("/") >= _MAX_DEPTH - 1 or self._excluded(inner))

    def _look(self, path: str) -> os.stat_result | None:
        try:
            if path.rpartition("/")[0] in self.folders:  # walked, so no link leads here
                found = os.lstat(self._real(path))
                if not stat.S_ISLNK(found.st_mode):
                    return found
            inner = resolved(self.root, path)
            return None if inner is None else os.lstat(self._real(inner))
        except (OSError, ValueError):
            return None

    def size_and_change_time(self, path: str) -> tuple[int, int]:
        """Size and time of the last change of a file; zeros if it does not exist."""
        found = self._look(path)
        return _size_and_change_time(found) if found is not None else (0, 0)

    def probed(self) -> dict[str, bool]:
        """The paths looked up outside the walk, and whether each is a file."""
        outside = (path for path in self._stats if path.rpartition("/")[0] not in self.folders)
        return self._probed | {path: self.is_file(path) for path in outside}

    def read(self, path: str) -> bytes:
        """The bytes of a regular file inside the tree, up to 32 MB. Raises UnreadableFileError."""
        held = self._held.get(path)
        if held is not None:
            return held
        try:
            content = self._content(path)
        except UnreadableFileError as error:
            self._states[path] = FileState(*self.size_and_change_time(path), str(error))
            raise
        if self._held_bytes + len(content) > _HELD_BYTES:
            self._held.clear()
            self._held_bytes = 0
        self._held[path] = content
        self._held_bytes += len(content)
        return content

    def _content(self, path: str) -> bytes:
        found = read_file(self.root, path)
        digest = hashlib.sha256(found.data).hexdigest()
        self._states[path] = FileState(*_size_and_change_time(found.status), digest)
        return found.data

    def text(self, path: str) -> str | None:
        """A launcher's text; None if it cannot be read. Invalid UTF-8 is replaced."""
        try:
            return self.read(path).decode("utf-8-sig", "replace").replace("\r\n", "\n")
        except UnreadableFileError:
            return None

    def digest(self, path: str) -> str:
        """The content's SHA-256, or why it is missing."""
        with suppress(UnreadableFileError):
            self.read(path)
        return self._states[path].digest

    def learn(self, read: Mapping[str, FileState], probed: Mapping[str, bool]) -> None:
        """Add the files that a forked process read and looked up."""
        self._states |= read
        self._probed |= probed

    def consulted(self) -> dict[str, FileState]:
        """Every file that was read, with its state at that time."""
        return self._states


def _size_and_change_time(status: os.stat_result) -> tuple[int, int]:
    """Size, and the later of modification and status change, which no archive can set."""
    return status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)


def _skipped(name: str) -> bool:
    return name in SKIPPED or name.startswith(".") or name.endswith((".egg-info", ".dist-info"))


def is_test(path: str) -> bool:
    """Whether the path names a test, a fixture or a notebook rather than service code."""
    *folders, name = path.split("/")
    if any(folder in TESTS for folder in folders):
        return True
    return name.startswith("test_") or name.endswith(("_test.py", ".ipynb")) or name == "conftest.py"


def beside(folder: str, path: str) -> str:
    """`path` resolved against `folder` and normalized; the result may be outside the root (`../x`)."""
    if path and path[0] not in "./" and "/." not in path and "//" not in path and path[-1] != "/":
        return f"{folder}/{path}" if folder else path
    found = normpath(join(folder, path))
    return "" if found == "." else found
