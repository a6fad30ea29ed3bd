"""Programs of a tree in which no launcher starts a process, so that none passes in silence.

A module that exposes an app, or serves, is followed as an entrypoint. A program that calls a model is
followed as a script, and reported as one that nothing names (ST042) if it is not traced. An installable
package that does neither is a library: it passes, whatever its examples do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from posixpath import basename, dirname

from somatrace.check.launch import jobs, servers, unread
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.module_use import WORTH_PARSING, ModuleUse, module_use, unparsed_use
from somatrace.check.project.contained_files import UnreadableFileError
from somatrace.check.project.file_tree import FileTree, is_test
from somatrace.check.project.source import Sources, UnparsableError, parse
from somatrace.check.run.loader import FoundModule, Loader
from somatrace.check.run.process import ProcessStart

#: Directories whose programs show how a package is used.
_ASIDE = frozenset([
    "examples", "example", "docs", "doc", "docs_src", "samples", "sample", "tutorials", "tutorial",
    "cookbook", "cookbooks", "benchmarks", "benchmark", "demos", "demo", "playground", "templates", "evals",
])  # fmt: skip
_PROJECTS = ("pyproject.toml", "setup.py", "setup.cfg")
_NOT_RUN = frozenset(["setup.py", "conf.py", "noxfile.py", "fabfile.py", "gunicorn.conf.py", "manage.py"])
_MOST_PROGRAMS = 100
_MOST_PARSED = 3_000
_GUESS = (
    "nothing in this tree starts {path}, so it is assumed to be {how}; if it is not, add the launcher that"
    " starts it, or `exclude` it in [tool.somatrace.check]"
)
_UNSTARTED = "{path} calls a model, and nothing in this tree starts it"
_UNCALLED = "{path} calls a model, and no program in this tree is known to use it"


@dataclass(frozen=True, slots=True)
class _Program:
    """A module that may be an entrypoint: its use, its start, and the files that it imports, with itself."""

    path: str
    use: ModuleUse
    start: ProcessStart
    reached: frozenset[str]


def launches(
    tree: FileTree, around: LaunchContext, services: tuple[str, ...], images: tuple[str, ...]
) -> list[Launch]:
    """The processes to assume in a tree in which nothing starts one.

    A model client in one of the `services` is reported for the service (ST040).
    """
    sources = Sources(tree)
    if started := [*unread.scripts(tree, around), *jobs.launches(tree, around, images)]:
        return started
    found = _programs(tree, around, services, sources)
    if not found and not _is_packaged(tree, ""):
        found = unread.launchers(tree, images, around)
    return found or unread.programs(images, around)


def _programs(
    tree: FileTree, around: LaunchContext, services: tuple[str, ...], sources: Sources
) -> list[Launch]:
    uses = _uses(tree)
    able = [path for path, use in uses.items() if use.app or use.serves or use.runs][:_MOST_PROGRAMS]
    found = [_program(path, uses[path], around, sources) for path in able]
    served = _without_pages([one for one in found if one.use.app or one.use.serves])
    hidden = {one.path for one in served if not one.use.app}
    callers = [one for one in found if one not in served and one.reached & hidden]
    if served:
        return [_assumed(one) for one in _outermost([*callers, *served])]
    reported = tuple(f"{service}/" for service in services)
    models = {
        path: use.model
        for path, use in uses.items()
        if use.model and not path.startswith(reported) and not _is_packaged(tree, path)
    }
    programs = [one for one in found if not models.keys().isdisjoint(one.reached)]
    if models and not programs:
        path = min(models)
        start = ProcessStart("script", path=path)
        reason = _UNCALLED.format(path=path)
        return [Launch(LaunchOrigin(path, 0, "assumed"), start, reason, path, "", reason, models[path])]
    return [
        replace(_assumed(one), unnamed=_UNSTARTED.format(path=one.path), line=models.get(one.path, 1))
        for one in _outermost(programs)
    ]


def _uses(tree: FileTree) -> dict[str, ModuleUse]:
    """What each module of the tree that could be a program, or a part of one, is for."""
    found: dict[str, ModuleUse] = {}
    for path in tree.files:
        if not path.endswith(".py") or is_test(path) or basename(path) in _NOT_RUN or _is_aside(tree, path):
            continue
        if len(found) >= _MOST_PARSED:
            break
        use = _use(tree, path)
        if use is not None:
            found[path] = use
    return found


def _use(tree: FileTree, path: str) -> ModuleUse | None:
    try:
        source = tree.read(path)
    except UnreadableFileError:
        return None
    if not WORTH_PARSING.search(source) and b"__main__" not in source:
        return None
    try:
        return module_use(parse(source), source)
    except (UnparsableError, RecursionError):
        return unparsed_use(source)


def _is_aside(tree: FileTree, path: str) -> bool:
    """Whether a path is among the examples or documents of an installable package."""
    parts = path.split("/")[:-1]
    return any(
        part in _ASIDE and _is_packaged(tree, "/".join(parts[: number + 1]))
        for number, part in enumerate(parts)
    )


def _is_packaged(tree: FileTree, path: str) -> bool:
    """Whether a path belongs to an installable package."""
    folder = dirname(path)
    while True:
        for name in _PROJECTS:
            project = f"{folder}/{name}" if folder else name
            if tree.is_file(project) and _installs(name, tree.text(project) or ""):
                return True
        if not folder:
            return False
        folder = dirname(folder)


def _installs(name: str, text: str) -> bool:
    """Whether a project file makes its directory an installable package, rather than set up tools."""
    if name == "pyproject.toml":
        return any(table in text for table in ("[project]", "[build-system]", "[tool.poetry]"))
    return ("setup(" if name == "setup.py" else "[metadata]") in text


def _program(path: str, use: ModuleUse, around: LaunchContext, sources: Sources) -> _Program:
    folder = dirname(path)
    above = [folder]
    while above[-1]:
        above.append(dirname(above[-1]))
    inside = replace(
        around, workdir="/", mounts=(("/", ""),), pythonpath=tuple(f"/{one}" for one in above[1:])
    )
    if use.role == "streamlit" or (not use.app and not use.relative):
        start = servers.script(path, inside, LaunchOrigin(path, 0, "assumed"))[0].start
        start = replace(start, role="streamlit" if use.role == "streamlit" else "script")
        first = FoundModule("__main__", path)
    else:
        name, top = _module_name(around.tree, path, use)
        kind = "import" if use.app else "module"
        attribute = use.app if use.app.isidentifier() else ""
        roots = inside.roots(f"/{top}")
        start = ProcessStart(
            kind, name, attribute=attribute, role=use.role if use.app else "script", roots=roots
        )
        first = FoundModule(name, path, (folder,) if path.endswith("__init__.py") else ())
    loader = Loader(around.tree, sources, start.roots)
    return _Program(path, use, start, frozenset([path, *loader.reached(first)]))


def _module_name(tree: FileTree, path: str, use: ModuleUse) -> tuple[str, str]:
    """The dotted name of a module in its outermost package, and the directory that the package is in."""
    parts = [basename(path)[:-3]]
    folder = dirname(path)
    while basename(folder).isidentifier() and (
        tree.is_file(f"{folder}/__init__.py") or (use.relative and len(parts) == 1)
    ):
        parts.insert(0, basename(folder))
        folder = dirname(folder)
    if parts[-1] == "__init__" or (parts[-1] == "__main__" and not use.app):
        parts.pop()
    return ".".join(parts), folder


def _outermost(found: list[_Program]) -> list[_Program]:
    """The programs that no other one imports."""
    kept: list[_Program] = []
    for one in found:
        users = [other for other in found if other is not one and one.path in other.reached]
        if all(other.path in one.reached and other not in kept for other in users):
            kept.append(one)
    return kept


def _without_pages(found: list[_Program]) -> list[_Program]:
    """Without the pages of a Streamlit program, which lie in `pages` beside it and run in its process."""
    folders = {dirname(one.path) for one in found if one.use.role == "streamlit"}
    return [
        one
        for one in found
        if basename(dirname(one.path)) != "pages" or dirname(dirname(one.path)) not in folders
    ]


def _assumed(one: _Program) -> Launch:
    guess = guessed(one.path, one.start)
    return Launch(LaunchOrigin(one.path, 0, "assumed"), one.start, target=one.path, guess=guess)


def guessed(path: str, start: ProcessStart) -> str:
    """The assumption about a file that nothing starts, and how to settle it."""
    return _GUESS.format(
        path=path, how="imported by a server" if start.kind == "import" else "run as a script"
    )
