"""Resolve imports to files as Python would with the process's search path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from somatrace.check.project.file_tree import FileTree, beside
from somatrace.check.project.source import Imported, Sources

_MOST_FOLDERS = 50


@dataclass(frozen=True, slots=True)
class SearchRoot:
    """A directory on the module search path. `prefix` is the package it belongs to in an image."""

    folder: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class FoundModule:
    """A module in the tree. `path` is empty for a namespace package, which has only `folders`."""

    name: str
    path: str
    folders: tuple[str, ...] = ()

    @property
    def is_package(self) -> bool:
        return bool(self.folders)

    @property
    def package(self) -> str:
        """The package that the module's relative imports start from."""
        return self.name if self.folders else self.name.rpartition(".")[0]


class Loader:
    """Finds modules for one process."""

    def __init__(self, tree: FileTree, sources: Sources, roots: tuple[SearchRoot, ...]) -> None:
        self._tree, self._sources, self._roots = tree, sources, roots
        self._found: dict[str, FoundModule | None] = {}
        self._quiet: dict[str, bool] = {}

    def find(self, name: str) -> FoundModule | None:
        """The module with that dotted name, or None if it is not in the tree."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> FoundModule | None:
        if name.count(".") > _MOST_FOLDERS:
            return None
        parent, _, last = name.rpartition(".")
        if parent:
            package = self.find(parent)
            if package is not None and package.is_package:
                found = self._in_folders(name, last, package.folders)
                if found is not None:
                    return found
        return self._below_roots(name, last)

    def _below_roots(self, name: str, last: str) -> FoundModule | None:
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        folders: list[str] = []
        own: list[str] = []
        holders: list[str] = []
        before = 0
        parent = name.rpartition(".")[0]
        for root in self._roots:
            if root.prefix == parent:
                folders.append(root.folder)
            elif root.prefix == name or root.prefix.startswith(f"{name}."):
                before = before if own or holders else len(folders)
                (own if root.prefix == name else holders).append(root.folder)
        if not own and not holders:
            return self._in_folders(name, last, tuple(folders))
        around = self._in_folders(name, last, tuple(folders[:before]))
        own += around.folders if around is not None else ()
        return self._put_together(name, own or [f"{holders[0]}\0"])

    def _put_together(self, name: str, folders: list[str]) -> FoundModule:
        """A package that an image puts together from directories of the tree."""
        starts = (beside(folder, "__init__.py") for folder in folders)
        return FoundModule(
            name, next((start for start in starts if self._tree.is_file(start)), ""), tuple(folders)
        )

    def _in_folders(self, name: str, last: str, folders: tuple[str, ...]) -> FoundModule | None:
        portions = []
        for folder in folders:
            here = beside(folder, last)
            start = f"{here}/__init__.py"
            if self._tree.is_file(start):
                return None if self._is_somatrace(here) else FoundModule(name, start, (here,))
            if self._tree.is_file(f"{here}.py"):
                return FoundModule(name, f"{here}.py")
            if self._tree.is_folder(here):
                portions.append(here)
        return FoundModule(name, "", tuple(portions)) if portions and self._has_python(portions) else None

    def _is_somatrace(self, folder: str) -> bool:
        """Whether a package is somatrace itself, in its repository or in a clone inside the tree.

        It shadows nothing: the library that the process imports is this one.
        """
        if not f"/{folder}".endswith("/somatrace") or not self._tree.is_file(f"{folder}/semconv.py"):
            return False
        if self._tree.is_file(f"{folder}/pipeline/span_processor.py"):
            return True
        project = beside(folder, "../pyproject.toml")
        return self._tree.is_file(project) and 'name = "somatrace"' in (self._tree.text(project) or "")

    def _has_python(self, folders: list[str]) -> bool:
        """Whether Python is below the folders: `./openai` with prompts in it is not a namespace package."""
        waiting = list(folders)
        for _ in range(_MOST_FOLDERS):
            if not waiting:
                return False
            folder = waiting.pop()
            if any(path.endswith(".py") for path in self._tree.listed(folder)):
                return True
            waiting.extend(f"{folder}/{name}" for name in self._tree.folders.get(folder, ()))
        return True

    def absolute(self, package: str, imported: Imported) -> str | None:
        """The absolute name of an import in a module of `package`; None beyond the top-level package."""
        if not imported.level:
            return imported.module
        parts = package.split(".") if package else []
        kept = parts[: len(parts) - (imported.level - 1)]
        if not kept or imported.level > len(parts):
            return None
        return ".".join([*kept, imported.module] if imported.module else kept)

    def quiet(self, found: FoundModule) -> bool:
        """Whether importing a module and its imports from the tree cannot have any relevant effect."""
        known = self._quiet.get(found.name)
        if known is not None:
            return known
        seen: dict[str, FoundModule] = {found.name: found}
        waiting = [found]
        while waiting:
            here = waiting.pop()
            if not here.path:
                continue
            glance = self._sources.glance(here.path)
            if glance.matters or self._quiet.get(here.name) is False:
                self._quiet[found.name] = False
                return False
            for needed in self._needed(here):
                if needed.name not in seen:
                    seen[needed.name] = needed
                    waiting.append(needed)
        for name in seen:
            self._quiet[name] = True
        return True

    def reached(self, found: FoundModule) -> set[str]:
        """The files that importing a module reads, as far as its import statements say."""
        seen, paths, waiting = {found.name}, set[str](), [found]
        while waiting:
            for needed in self._needed(waiting.pop()):
                if needed.name not in seen:
                    seen.add(needed.name)
                    paths |= {needed.path} - {""}
                    waiting += [needed] if needed.path else []
        return paths

    def _needed(self, here: FoundModule) -> Iterator[FoundModule]:
        for imported in self._sources.glance(here.path).imports:
            name = self.absolute(here.package, imported)
            if name is None:
                continue
            yield from self._with_parents(name)
            for taken in imported.names:
                yield from self._with_parents(f"{name}.{taken}")

    def _with_parents(self, name: str) -> Iterator[FoundModule]:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            found = self.find(".".join(parts[:length]))
            if found is None:
                return
            yield found
