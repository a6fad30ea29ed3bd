"""Discover every process in a source tree from its launchers and from conventions under `services/`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from posixpath import basename, dirname
from typing import Any

from somatrace.check.launch import (
    compose,
    dockerfile,
    files,
    graphs,
    platforms,
    pods,
    servers,
    supervised,
    units,
    unlaunched,
    unread,
)
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.presence import without_guesses
from somatrace.check.project import yaml_reader
from somatrace.check.project.file_tree import FileTree, beside, is_test
from somatrace.check.run.loader import SearchRoot
from somatrace.check.run.process import ProcessStart

_APP = re.compile(
    rb"^(\w++)(?:\s*+:[^=\n]++)?\s*+=\s*+(?:\w++\.)*+(?:FastAPI|Flask|Starlette|Quart|Sanic|Litestar|Celery|create_app|make_app|build_app"
    rb"|get_app|APIFlask|FastMCP|Application|Blacksheep|Robyn|Chalice|Mangum)\(",
    re.MULTILINE,
)
_SETUP = re.compile(r"^[ \t]*(?:from|import)[ \t]+(?:setuptools|distutils|skbuild|Cython)\b", re.MULTILINE)
_PROJECTS = frozenset(["pyproject.toml", "setup.cfg", "setup.py"])
_MARKERS = (
    "Dockerfile",
    "pyproject.toml",
    "requirements.txt",
    "Pipfile",
    "Procfile",
    "Containerfile",
)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The processes found, and the directories under `services/` that have none.

    `assumed` are the processes to assume if none of those found is one.
    """

    launches: tuple[Launch, ...]
    silent: tuple[str, ...]
    images: tuple[str, ...]
    assumed: tuple[Launch, ...] = ()


def discover(tree: FileTree, entrypoints: tuple[str, ...] = ()) -> Inventory:
    """All launches in the tree, without duplicates."""
    around = LaunchContext(tree, shared=_shared(tree), scripts={})
    projects = [path for path in tree.files if basename(path) in _PROJECTS and not is_test(path)]
    scripts = {path: files.project(path, around) for path in projects}
    around = replace(
        around, scripts={name: target for found in scripts.values() for name, (target, _) in found.items()}
    )
    images = tuple(path for path in tree.files if dockerfile.is_dockerfile(path) and not is_test(path))
    found: dict[tuple[Any, ...], Launch] = {}
    for launch in without_guesses([*_all(tree, around, images, scripts)], tree):
        found.setdefault(_same(launch), launch)
    services = _services(tree)
    for launch in [*_conventional(tree, around, services, found), *_configured(entrypoints, around)]:
        found.setdefault(_same(launch), launch)
    assumed: dict[tuple[Any, ...], Launch] = {}
    if all(launch.if_it_works for launch in found.values()):
        for launch in unlaunched.launches(tree, around, services, images):
            assumed.setdefault(_same(launch), launch)
    covered = {
        _service_name(path)
        for launch in found.values()
        if not launch.if_it_works
        for path in (launch.origin.path, _target(launch, tree))
    }
    silent = tuple(name for name in services if name not in covered)
    return Inventory(tuple(found.values()), silent, images, tuple(assumed.values()))


def _same(launch: Launch) -> tuple[Any, ...]:
    start = launch.start
    if launch.problem:
        return (launch.origin.path, launch.origin.line, launch.problem)
    first = start.roots[0] if start.roots else None
    return (
        start.kind,
        start.name,
        start.path,
        start.attribute,
        start.role,
        start.factory,
        start.settings,
        start.server,
        start.command,
        first,
    )


def _all(
    tree: FileTree,
    around: LaunchContext,
    images: tuple[str, ...],
    scripts: dict[str, dict[str, tuple[str, int]]],
) -> Iterator[Launch]:
    own = [path for path in tree.files if not is_test(path)]
    programs = [path for path in own if supervised.is_configuration(path, tree)]
    followed: set[str] = set()
    for path in own:
        for launch in _launcher(path, around, images) if path not in programs else ():
            followed.add(launch.origin.path)
            yield launch
    for path in programs:
        if path not in followed:
            yield from files.supervisor(path, around)
    for path, found in scripts.items():
        for name, (target, line) in found.items():
            launch = files.console(path, name, target, line, around)
            if _target(launch, tree):
                yield replace(launch, if_it_works=True)


def _launcher(path: str, around: LaunchContext, images: tuple[str, ...]) -> Iterator[Launch]:
    """The processes that one file starts."""
    if dockerfile.is_dockerfile(path):
        yield from (replace(launch, alone=True) for launch in dockerfile.launches(path, around))
    elif basename(path) == "Procfile":
        yield from files.procfile(path, around)
    elif path.endswith((".yml", ".yaml")):
        yield from _yaml(path, around, images)
    elif path.endswith((".toml", ".json")):
        yield from platforms.settings(path, around)
        yield from graphs.launches(path, around)
    elif units.is_unit(path):
        yield from units.launches(path, around)


def _yaml(path: str, around: LaunchContext, images: tuple[str, ...]) -> Iterator[Launch]:
    name = basename(path)
    text = around.tree.text(path) or ""
    hosted = platforms.yaml_reader_of(path, text)
    if compose.is_compose(path):
        kind = "compose"
    elif name.startswith("serverless.") or "AWS::Serverless" in text:
        kind = "functions"
    elif hosted is not None:
        kind = "hosted"
    elif "kind:" in text and "containers:" in text:
        kind, text = "pods", pods.without_templates(text)
    else:
        return
    try:
        documents = yaml_reader.load(text)
    except yaml_reader.UndecidableError as error:
        if "$TEMPLATE" in text and not unread.names_python(text):
            return  # a chart's, for a program of another kind
        yield servers.undecidable(LaunchOrigin(path, 1, ""), path, f"its YAML cannot be interpreted: {error}")
        return
    if hosted is not None and kind == "hosted":
        yield from hosted(path, documents, around)
    elif kind == "compose":
        yield from compose.launches(path, documents, around)
    elif kind == "functions":
        yield from files.functions(path, documents, around, images)
    else:
        yield from pods.launches(path, documents, around, images)


def _shared(tree: FileTree) -> tuple[SearchRoot, ...]:
    """Directories whose packages every process can import: the root, and projects outside `services/`."""
    roots: dict[SearchRoot, None] = {SearchRoot(""): None}
    for path in tree.files:
        is_project = basename(path) == "pyproject.toml" or is_setup(path, tree)
        if is_project and not path.startswith("services/"):
            folder = dirname(path)
            for place in (f"{folder}/src" if folder else "src", folder):
                if tree.is_folder(place):
                    roots[SearchRoot(place)] = None
    return tuple(roots)


# -- convention -----------------------------------------------------------------------------------


def _services(tree: FileTree) -> tuple[str, ...]:
    """The root `services/` counts if it has subdirectories and is not a package."""
    if tree.is_file("services/__init__.py"):
        return ()
    return tuple(f"services/{name}" for name in tree.folders.get("services", ()) if not is_test(name))


def _conventional(
    tree: FileTree,
    around: LaunchContext,
    services: tuple[str, ...],
    found: dict[tuple[Any, ...], Launch],
) -> Iterator[Launch]:
    launched = {_target(launch, tree) for launch in found.values()}
    for service in services:
        for path in _entries(tree, service):
            if path not in launched:
                launch = by_convention(path, service, tree, around)
                yield replace(launch, guess=unlaunched.guessed(path, launch.start))


def _entries(tree: FileTree, service: str) -> Iterator[str]:
    for name in ("app/main.py", "main.py"):
        if tree.is_file(f"{service}/{name}"):
            yield f"{service}/{name}"
    for package in tree.folders.get(service, ()):
        if tree.is_file(f"{service}/{package}/__main__.py") and not is_test(package):
            yield f"{service}/{package}/__main__.py"


def by_convention(path: str, service: str, tree: FileTree, around: LaunchContext) -> Launch:
    """A launch by convention: import the module if it exposes an app object, otherwise run it as a script."""
    inside = replace(around, mounts=(("/", service),))
    origin = LaunchOrigin(path, 0, "convention")
    name = path.removeprefix(f"{service}/").removesuffix(".py").replace("/", ".")
    if path.endswith("/__main__.py"):
        start = "module", name.removesuffix(".__main__")
        return Launch(
            origin, ProcessStart(start[0], start[1], role="script", roots=inside.roots("/")), target=path
        )
    match = _APP.search((tree.text(path) or "").encode())
    if match:
        return replace(servers.imported(f"{name}:{match[1].decode()}", inside, origin)[0], target=path)
    return servers.script(path, inside, origin)[0]


def _configured(entrypoints: tuple[str, ...], around: LaunchContext) -> Iterator[Launch]:
    for path in entrypoints:
        launch = by_convention(path, dirname(path), around.tree, around)
        yield replace(launch, origin=replace(launch.origin, text="entrypoints"))


def _target(launch: Launch, tree: FileTree) -> str:
    """The file a launch starts, inferred from its name."""
    if launch.start.path:
        return launch.start.path
    name = launch.start.name.replace(".", "/")
    for root in launch.start.roots:
        inner = name
        if root.prefix and (name + "/").startswith(root.prefix.replace(".", "/") + "/"):
            inner = name[len(root.prefix) + 1 :]
        for path in (
            beside(root.folder, f"{inner}.py"),
            beside(root.folder, f"{inner}/__init__.py"),
            beside(root.folder, f"{inner}/__main__.py"),
        ):
            if tree.is_file(path) and (path.endswith("__main__.py")) == (
                launch.start.kind == "module" and not path.endswith(f"{inner}.py")
            ):
                return path
    return ""


def _service_name(path: str) -> str:
    """The `services/<name>` prefix of a path."""
    parts = path.split("/", 2)
    return "/".join(parts[:2]) if len(parts) > 2 else ""


def is_setup(path: str, tree: FileTree) -> bool:
    """Whether the file is a project's setup.py, and no module of that name."""
    if basename(path) != "setup.py" or path not in tree.files:
        return False
    return bool(_SETUP.search(tree.text(path) or ""))


def service_of(path: str, tree: FileTree) -> str:
    """The directory of a file's service: `services/<name>`, or the nearest enclosing project."""
    parts = path.split("/")
    if len(parts) > 2 and parts[0] == "services":
        return "/".join(parts[:2])
    folder = dirname(path)
    while folder:
        if any(f"{folder}/{marker}" in tree.files for marker in _MARKERS):
            return folder
        if is_setup(f"{folder}/setup.py", tree):
            return folder
        folder = dirname(folder)
    return ""
