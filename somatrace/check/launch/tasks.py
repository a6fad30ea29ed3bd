"""Tasks of a project, which a runner starts by their name: `pdm run serve`, `poe serve`, `make run`.

- pdm, https://pdm-project.org/latest/usage/scripts/: `cmd`, `shell`, `call`, `composite`.
- Hatch, https://hatch.pypa.io/latest/config/environment/overview/#scripts: commands that may begin with the
  name of another script; `{args}` takes the arguments; environments inherit from `template`.
- Poe, https://poethepoet.natn.io/tasks/index.html: `cmd`, `script`, `shell`, `sequence`, `parallel`, `ref`.
- Pixi, https://pixi.prefix.dev/latest/workspace/advanced_tasks/: `cmd`, `depends-on`, `cwd`, `env`.
- Rye, https://rye.astral.sh/guide/pyproject/#toolryescripts; taskipy, https://github.com/taskipy/taskipy;
  Pipenv, https://pipenv.pypa.io/en/latest/scripts.html.
- npm, https://docs.npmjs.com/cli/commands/npm-run: the command of a name among `scripts`.
- Task, https://taskfile.dev/docs/reference/schema: `cmds` and `cmd`.
- make and just: see `recipes`; tox: see `tox`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from posixpath import basename, dirname
from typing import Any

from somatrace.check.launch import recipes, tox
from somatrace.check.launch.around import LaunchContext
from somatrace.check.project import toml_reader, yaml_reader
from somatrace.check.project.file_tree import beside

_PYPROJECT = "pyproject.toml"
#: The files of each runner, with the tables that hold its tasks; `*` is any name.
_TABLES: dict[str, tuple[tuple[str, str], ...]] = {
    "pdm": ((_PYPROJECT, "tool.pdm.scripts"),),
    "hatch": ((_PYPROJECT, "tool.hatch.envs.{env}.scripts"), ("hatch.toml", "envs.{env}.scripts")),
    "pixi": (
        ("pixi.toml", "tasks"),
        ("pixi.toml", "feature.*.tasks"),
        (_PYPROJECT, "tool.pixi.tasks"),
        (_PYPROJECT, "tool.pixi.feature.*.tasks"),
    ),
    "poe": (
        (_PYPROJECT, "tool.poe.tasks"),
        ("poe_tasks.toml", "tool.poe.tasks"),
        ("poe_tasks.toml", "tasks"),
    ),
    "rye": ((_PYPROJECT, "tool.rye.scripts"),),
    "pipenv": (("Pipfile", "scripts"),),
    "task": (
        (_PYPROJECT, "tool.taskipy.tasks"),
        ("Taskfile.yml", "tasks"),
        ("Taskfile.yaml", "tasks"),
    ),
    "npm": (("package.json", "scripts"),),
}
#: Runners whose command takes the name of a task or a program after `run`.
_RUNNERS = frozenset(["pdm", "hatch", "pixi", "rye", "pipenv"])
_NODE = frozenset(["npm", "yarn", "pnpm", "bun"])
_FUNCTION = re.compile(r"[\w.]+:[\w.]+")
_ARGUMENTS = re.compile(r"\{args(?::([^{}]*))?\}")
#: The keys of a task, and whether its value names other tasks.
_PARTS = {
    "depends-on": True, "depends_on": True, "deps": True, "cmd": False, "shell": False,
    "call": False, "script": False, "composite": True, "chain": True, "sequence": True, "parallel": True,
    "ref": True, "task": True, "cmds": False,
}  # fmt: skip
_MOST_PARTS = 50


@dataclass(frozen=True, slots=True)
class Task:
    """What a task runs: a command line, or the function of a module."""

    path: str
    line: int
    text: str = ""
    function: str = ""
    folder: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Call:
    """A runner and the task that it is given."""

    runner: str
    name: str
    arguments: tuple[str, ...]
    environment: str = "default"


def named(argv: tuple[str, ...], bare: tuple[str, ...], around: LaunchContext) -> Task | None:
    """The task that a command runs; None if it runs none. `bare` is the command without its wrappers."""
    if bare and basename(bare[0]) in recipes.FILES:
        return _from_recipe(bare, around)
    call = _called(argv, bare)
    for name, table in _TABLES.get(call.runner, ()) if call is not None else ():
        path = _file(name, around)
        tasks = _tasks(path, table, call.environment, around) if path and call is not None else {}
        if call is not None and call.name in tasks:
            return _task(path, call, tasks, around)
    return None


def is_missing(argv: tuple[str, ...], bare: tuple[str, ...], around: LaunchContext) -> bool:
    """Whether a command that names no task of the tree would run one, from files that cannot be read."""
    if basename(bare[0]) in recipes.FILES:
        return basename(bare[0]) != "tox"  # whose other environments are tests
    call = _called(argv, bare)
    if call is None or call.runner not in {*_RUNNERS, "poe", "task"}:
        return False
    paths = [found for name, _ in _TABLES[call.runner] if (found := _file(name, around))]
    return call.runner in {"poe", "task"} or all(
        _loaded(path, around.tree.text(path) or "") is None for path in paths
    )


def _called(argv: tuple[str, ...], bare: tuple[str, ...]) -> _Call | None:
    """The runner among the wrappers of a command, or the command itself."""
    if not bare:
        return None
    front = argv[: len(argv) - len(bare)]
    runner = next((basename(word) for word in reversed(front) if basename(word) in _RUNNERS), "")
    if runner:
        environment, colon, name = bare[0].rpartition(":") if runner == "hatch" else ("", "", bare[0])
        given = environment if colon else _option(front, "-e", "--env")
        return _Call(runner, name, bare[1:], given or "default")
    name = basename(bare[0])
    words = bare[1:]
    if name in {"poetry", "python", "python3"} and ("poe" in words[:1] or "poethepoet" in words[1:2]):
        name, words = "poe", words[1:] if words[0] == "poe" else words[2:]
    if name in _NODE:
        name, words = "npm", words[1:] if words[:1] in {("run",), ("run-script",)} else words
    while words and words[0].startswith("-"):
        words = words[1:] if "=" in words[0] or len(words[0]) > 2 else words[2:]
    if name not in _TABLES or not words:
        return None
    return _Call(name, words[0], tuple(word for word in words[1:] if word != "--"))


def _option(words: tuple[str, ...], *names: str) -> str:
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in names), "")


def _file(name: str, around: LaunchContext) -> str:
    """A project file that the process sees, or the nearest one above the code that it sees."""
    found = around.file(name)
    if found is not None:
        return found
    for _, source in around.mounts:
        above = [source]
        while above[-1]:
            above.append(dirname(above[-1]))
        for folder in above:
            if around.tree.is_file(beside(folder, name)):
                return beside(folder, name)
    return ""


def _tasks(path: str, table: str, environment: str, around: LaunchContext) -> dict[str, Any]:
    """The tasks of one table of a file; for Hatch, with those that an environment inherits."""
    data = _loaded(path, around.tree.text(path) or "")
    found: dict[str, Any] = {}
    names = [environment, "default"] if "{env}" in table else [""]
    for name in names:
        for level in _below([data], table.replace("{env}", name).split(".")):
            for key, value in level.items():
                found.setdefault(str(key), value)
    return found


def _below(levels: list[Any], names: list[str]) -> list[dict[Any, Any]]:
    for name in names:
        tables = [level for level in levels if isinstance(level, dict)]
        levels = [
            value
            for table in tables
            for value in (table.values() if name == "*" else [table.get(name)])
            if value is not None
        ]
    return [level for level in levels if isinstance(level, dict)]


@lru_cache(4)
def _loaded(path: str, text: str) -> Any:
    try:
        if path.endswith((".yml", ".yaml")):
            return next(iter(yaml_reader.load(text)), None)
        if path.endswith(".json"):
            return json.loads(text) if len(text) <= toml_reader.MAX_BYTES else None
        return toml_reader.load(text)
    except (toml_reader.UnreadableTomlError, yaml_reader.UndecidableError, ValueError, RecursionError):
        return None


def _task(path: str, call: _Call, tasks: dict[str, Any], around: LaunchContext) -> Task:
    """The task with everything that it runs, in order."""
    text = around.tree.text(path) or ""
    parts = _parts(tasks[call.name], tasks, [_MOST_PARTS], by_name=call.runner == "hatch")
    last = parts[-1] if parts else ""
    value = tasks[call.name] if isinstance(tasks[call.name], dict) else {}
    folder = str(value.get("cwd") or value.get("working_dir") or value.get("dir") or "")
    given = value.get("env")
    variables = {str(name): str(one) for name, one in given.items()} if isinstance(given, dict) else {}
    line = _line(text, call.name)
    function = _FUNCTION.match(last)
    if function is not None and function[0] + "(" in f"{last}(":
        return Task(path, line, function=function[0], folder=folder, variables=variables)
    arguments = shlex.join(call.arguments)
    last = _given(last, arguments)
    joined = " & " if "parallel" in value else " && "
    return Task(path, line, joined.join([*parts[:-1], last]), folder=folder, variables=variables)


def _given(command: str, arguments: str) -> str:
    """A command with its arguments, in the place that it has for them or at its end."""
    if _ARGUMENTS.search(command):
        return _ARGUMENTS.sub(lambda match: arguments or match[1] or "", command)
    return f"{command} {arguments}".strip()


def _parts(value: Any, tasks: dict[str, Any], left: list[int], *, by_name: bool = False) -> list[str]:
    """The commands and functions of a task. `by_name` says whether a text may begin with another task;
    `left` is how many more parts may be read: tasks that refer to each other multiply.
    """
    left[0] -= 1
    if left[0] < 0:
        return []
    if isinstance(value, str):
        name, _, rest = value.strip().partition(" ")
        if by_name and name in tasks:
            found = _parts(tasks[name], tasks, left, by_name=by_name)
            return [*found[:-1], _given(found[-1], rest)] if found else []
        return [value.strip()] if value.strip() else []
    if isinstance(value, list):
        return [part for one in value for part in _parts(one, tasks, left, by_name=True)]
    found = []
    for key, names in _PARTS.items() if isinstance(value, dict) else ():
        part = value.get(key)
        if key == "cmd" and isinstance(part, list):
            part = shlex.join(str(word) for word in part)
        if part is not None:
            found += _parts(part, tasks, left, by_name=names or by_name)
    return found


def _line(text: str, name: str) -> int:
    """The line of a task: `name = …`, `name.cmd = …`, `[tool.poe.tasks.name]`, `"name": …`."""
    pattern = rf"^[ \t]*(?:\[[\w.-]*\.)?[\"']?{re.escape(name)}[\"']?(?:\.\w+)*[ \t]*[=:\]]"
    match = re.search(pattern, text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match is not None else 1


def _from_recipe(bare: tuple[str, ...], around: LaunchContext) -> Task | None:
    file, folder, targets, variables = recipes.called(bare)
    runner = basename(bare[0])
    names = (file,) if file else recipes.FILES[runner]
    places = [f"{folder}/{name}" if folder else name for name in names]
    path = next((found for place in places if (found := _file(place, around))), "")
    text = around.tree.text(path) if path else None
    if text is None:
        return None
    known = {**around.variables, **variables}
    target = targets[-1] if targets else ""
    recipe = tox.recipe(text, target) if runner == "tox" else recipes.recipe(text, target, known)
    return Task(path, recipe.line, recipe.text, folder=folder) if recipe is not None and recipe.text else None
