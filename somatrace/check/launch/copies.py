"""Where the files of a tree are in an image, by the COPY instructions of a stage."""

from __future__ import annotations

from posixpath import basename, dirname, join, normpath

from somatrace.check.launch.container import BuildStage
from somatrace.check.project.file_tree import FileTree, beside

#: Directories of every image.
_FOLDERS = frozenset([
    "/", "/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local", "/usr/local/bin",
    "/usr/local/sbin", "/usr/local/lib", "/usr/share", "/usr/src", "/etc", "/opt", "/srv", "/home",
    "/tmp",  # noqa: S108 -- a directory of the image
    "/root", "/var", "/var/lib", "/var/task", "/mnt",
])  # fmt: skip


def mounts(stage: BuildStage, tree: FileTree, context: str) -> tuple[tuple[str, str], ...]:
    """Map image paths to paths in the tree, for one build context; a later COPY replaces an earlier."""
    found: list[tuple[str, str]] = []
    folders = set(stage.folders)
    for source, target in stage.copies:
        path = beside(context, source.rstrip("*"))
        if path.startswith("../"):
            continue
        if tree.is_folder(path):
            folders.add(target.rstrip("/") or "/")
            found.append((target.rstrip("/") or "/", path))
        elif tree.is_file(path):
            into = target.endswith("/") or _is_folder(target, folders)
            found.append((join(target, basename(path)) if into else target, path))
        elif "*" in source:
            found.append((target.rstrip("/"), beside(context, dirname(source))))
    return tuple(reversed(found))


def _is_folder(target: str, folders: set[str]) -> bool:
    """Whether an image has a directory of that name: COPY then puts a file into it."""
    if target in folders or target in _FOLDERS:
        return True
    return any(one.startswith(f"{target.rstrip('/')}/") for one in folders)


def copied(origin: BuildStage, source: str, target: str) -> list[tuple[str, str]]:
    """The copies that a `COPY --from` of an earlier stage makes of what that stage copied from the tree."""
    wanted = normpath(join("/", source)).rstrip("/")
    found: list[tuple[str, str]] = []
    for path, placed in origin.copies:
        here, into = placed.rstrip("/"), placed.endswith("/")
        if here == wanted or here.startswith(f"{wanted}/"):
            place = f"{target.rstrip('/')}{here[len(wanted) :]}"
            found.append((path, f"{place}/" if into else place))
        elif wanted.startswith(f"{here}/"):
            inner = wanted[len(here) + 1 :]
            found.append((path if into and basename(path) == inner else beside(path, inner), target))
    return found


def contexts_of(path: str, stage: BuildStage, tree: FileTree) -> list[str]:
    """The build contexts to infer: of the directories that enclose the file, those in which most of the COPY
    sources exist, the nearest first.
    """
    folder = dirname(path)
    found: list[str] = []
    most = -1
    while True:
        here = sum(1 for source, _ in stage.copies if _exists(tree, beside(folder, source.rstrip("*"))))
        if here > most:
            found, most = [], here
        if here == most:
            found.append(folder)
        if not folder:
            return found
        folder = dirname(folder)


def _exists(tree: FileTree, path: str) -> bool:
    return tree.is_file(path) or tree.is_folder(path)
