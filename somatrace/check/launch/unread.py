"""Files that name Python in a tree in which no launcher starts a process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename, dirname

from somatrace.check.launch import commands, dockerfile
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.presence import is_here
from somatrace.check.project.file_tree import FileTree, is_test
from somatrace.check.run.process import ProcessStart

#: Scripts that are started by hand or by the configuration of a host.
_SCRIPT = re.compile(r"(?:run|start|serve|server|entrypoint|entry|boot|launch|app|worker|web)\.(?:sh|bash)")
_MOST_SCRIPTS = 20
#: Launchers that are not read: pm2, Nomad, Zappa, BentoML, Cog, CapRover, Vercel, Replit.
_UNREAD = re.compile(
    r"(?:ecosystem|pm2)(?:\.config)?\.(?:c?js|json|ya?ml)|.+\.nomad(?:\.hcl)?|zappa_settings\.(?:json|toml|ya?ml)"
    r"|bentofile\.ya?ml|cog\.ya?ml|captain-definition|vercel\.json|\.replit"
)
_NAMES_PYTHON = re.compile(r"\bpython[\d.]*\b|[\w/-]\.py\b|\b(?:gunicorn|uvicorn|hypercorn|celery)\b")
_PYTHON_IMAGE = re.compile(r"python|pypy|(?:^|/)uv(?:[:@]|$)|conda")
_ASSUMED = (
    "no launcher in this tree runs {path}, which is assumed to start the process; if it does not, add the"
    " launcher that does, or `exclude` the script in [tool.somatrace.check]"
)
_NO_COMMAND = "{path} builds an image of Python code and gives it no command"
_NAMED = "{path} names Python, and the check does not read such launchers"


def scripts(tree: FileTree, around: LaunchContext) -> Iterator[Launch]:
    """The processes of shell scripts that are named as if they started the program."""
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


def launchers(tree: FileTree, images: tuple[str, ...], around: LaunchContext) -> list[Launch]:
    """The first launcher that names Python and does not say which process it starts, as one of ST042."""
    for path in tree.files:
        if _UNREAD.fullmatch(basename(path)) and not is_test(path):
            text = tree.text(path) or ""
            match = _NAMES_PYTHON.search(text)
            if match is not None:
                return [_unnamed(path, text.count("\n", 0, match.start()) + 1, _NAMED)]
    for path in images:
        line = dockerfile.uncommanded(path, around, _PYTHON_IMAGE)
        if line:
            return [_unnamed(path, line, _NO_COMMAND)]
    return []


def _unnamed(path: str, line: int, text: str) -> Launch:
    reason = text.format(path=path)
    start = ProcessStart("script", path=path)
    return Launch(LaunchOrigin(path, line, path), start, reason, path, unnamed=reason, line=line)
