"""Files that name Python in a tree in which no launcher starts a process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename, dirname

from somatrace.check.launch import commands, tasks, undeclared
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.presence import is_here
from somatrace.check.project.file_tree import FileTree, is_test
from somatrace.check.run.process import ProcessStart

#: Scripts that are started by hand or by the configuration of a host.
_SCRIPT = re.compile(r"(?:run|start|serve|server|entrypoint|entry|boot|launch|app|worker|web)\.(?:sh|bash)")
_MOST_SCRIPTS = 20
#: Tasks, and targets of a Makefile, that are started by hand.
_TASKS = ("run", "start", "serve", "server", "worker", "web", "app", "api", "bot", "up")
_TASK_FILES = {
    "Makefile": (("make",),), "makefile": (("make",),), "GNUmakefile": (("make",),), "justfile": (("just",),),
    "Taskfile.yml": (("task",),), "Taskfile.yaml": (("task",),), "Pipfile": (("pipenv", "run"),),
    "pixi.toml": (("pixi", "run"),), "hatch.toml": (("hatch", "run"),), "poe_tasks.toml": (("poe",),),
    "package.json": (("npm", "run"),), "tox.ini": (("tox",),),
    "pyproject.toml": (
        ("pdm", "run"), ("hatch", "run"), ("pixi", "run"), ("poe",), ("rye", "run"), ("task",),
    ),
}  # fmt: skip
_NAMES_PYTHON = re.compile(r"\bpython[\d.]*\b|[\w/-]\.py\b|\b(?:gunicorn|uvicorn|hypercorn|celery)\b")
#: Launchers that are not read, and the text by which they name Python.
_UNREAD = (
    # pm2, Nomad, Zappa, BentoML, Cog, CapRover, Vercel, Replit
    (
        re.compile(
            r"(?:ecosystem|pm2)(?:\.config)?\.(?:c?js|json|ya?ml)|.+\.nomad(?:\.hcl)?"
            r"|zappa_settings\.(?:json|toml|ya?ml)|bentofile\.ya?ml|cog\.ya?ml|captain-definition"
            r"|vercel\.json|\.replit"
        ),
        _NAMES_PYTHON,
    ),
    # Prefect, Dagster, Databricks, AWS CDK, Terraform, scripts of Windows
    (
        re.compile(
            r"prefect\.ya?ml|(?:workspace|dagster_cloud)\.ya?ml|databricks\.ya?ml|cdk\.json|.+\.tf"
            r"|(?:run|start|serve|server|install|worker|app)\.(?:ps1|bat|cmd)"
        ),
        _NAMES_PYTHON,
    ),
    # Skaffold (https://skaffold.dev/docs/builders/builder-types/buildpacks/), Tilt, DevSpace, Garden
    (
        re.compile(r"skaffold\.ya?ml|Tiltfile|devspace\.ya?ml|(?:.+\.)?garden\.ya?ml"),
        re.compile(rf"^[ \t]*buildpacks?:|{_NAMES_PYTHON.pattern}", re.MULTILINE),
    ),
    # Bazel and Pants
    (
        re.compile(r"BUILD(?:\.bazel|\.pants)?"),
        re.compile(
            r"^(?:py_binary|py3?_image|pex_binary|pyoxidizer_binary|python_(?:aws|google)\w+)\(", re.MULTILINE
        ),
    ),
    # Azure Functions, Triton, Spaces of Hugging Face
    (re.compile(r"function\.json"), re.compile(r"\"scriptFile\"[^\n]*\.py\"|\"bindings\"")),
    (re.compile(r"config\.pbtxt"), re.compile(r"^backend:[ \t]*\"python\"", re.MULTILINE)),
    (re.compile(r"README\.md"), re.compile(r"\A---\n(?:[^\n]*\n){0,30}?sdk:[ \t]*(?:gradio|streamlit)\b")),
)
_PYTHON_IMAGE = re.compile(r"python|pypy|(?:^|/)uv(?:[:@]|$)|conda")
_ASSUMED = (
    "no launcher in this tree runs {path}, which is assumed to start the process; if it does not, add the"
    " launcher that does, or `exclude` the script in [tool.somatrace.check]"
)
_NO_COMMAND = "{path} builds an image of Python code and gives it no command"
_UNKNOWN = "{path} builds an image of Python code and starts `{program}`, which no file of this tree names"
_NAMED = "{path} names Python, and the check does not read such launchers"


def names_python(text: str) -> bool:
    """Whether a launcher's text names Python, a file of it, or a server of it."""
    return _NAMES_PYTHON.search(text) is not None


def scripts(tree: FileTree, around: LaunchContext) -> Iterator[Launch]:
    """The processes of shell scripts that are named as if they started the program."""
    yield from _tasks(tree, around)
    named = [path for path in tree.files if _SCRIPT.fullmatch(basename(path)) and not is_test(path)]
    for path in named[:_MOST_SCRIPTS]:
        text = tree.text(path) or ""
        found: list[Launch] = []
        for folder in dict.fromkeys([dirname(path), ""]):
            given = commands.text(text, around.at(folder), LaunchOrigin(path, 1, path))
            found = [one for one in given if not one.problem and is_here(one, tree)]
            if found:
                break
        yield from (replace(one, guess=_ASSUMED.format(path=path)) for one in found)


def _tasks(tree: FileTree, around: LaunchContext) -> Iterator[Launch]:
    """The processes of tasks that are named as if they started the program."""
    files = [path for path in tree.files if basename(path) in _TASK_FILES and not is_test(path)]
    for path in files[:_MOST_SCRIPTS]:
        inside = around.at(dirname(path))
        for runner in _TASK_FILES[basename(path)]:
            for name in _TASKS:
                task = tasks.named((*runner, name), (name,) if runner[1:] else (*runner, name), inside)
                if task is None or task.path != path:
                    continue
                given = commands.launches((*runner, name), inside, LaunchOrigin(path, task.line, name))
                found = [one for one in given if not one.problem and is_here(one, tree)]
                yield from (replace(one, guess=_ASSUMED.format(path=path)) for one in found)


def launchers(tree: FileTree, images: tuple[str, ...], around: LaunchContext) -> list[Launch]:
    """The first launcher that names Python and does not say which process it starts, as one of ST042."""
    for path in tree.files:
        for name, content in _UNREAD if not is_test(path) else ():
            if not name.fullmatch(basename(path)):
                continue
            text = tree.text(path) or ""
            match = content.search(text)
            if match is not None and around.at(dirname(path)).holds_python():
                return [_unnamed(path, text.count("\n", 0, match.start()) + 1, _NAMED)]
    for path in images:
        line = undeclared.uncommanded(path, around, _PYTHON_IMAGE)
        if line:
            return [_unnamed(path, line, _NO_COMMAND)]
    return []


def programs(images: tuple[str, ...], around: LaunchContext) -> list[Launch]:
    """The first image of Python code that starts a program which no file names, as one of ST042."""
    for path in images:
        command = undeclared.unknown_program(path, around, _PYTHON_IMAGE)
        if command is not None:
            return [_unnamed(path, command.line, _UNKNOWN.replace("{program}", command.words[0]))]
    return []


def _unnamed(path: str, line: int, text: str) -> Launch:
    reason = text.format(path=path)
    start = ProcessStart("script", path=path)
    return Launch(LaunchOrigin(path, line, path), start, reason, path, unnamed=reason, line=line)
