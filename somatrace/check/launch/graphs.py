"""The graphs of langgraph.json: LangGraph's server imports the module of each as it starts.

https://docs.langchain.com/langsmith/application-structure and https://docs.langchain.com/langsmith/cli:
`graphs` maps names to `path/file.py:variable`, alone or as the `path` of an object, `http.app` is an app that
the server mounts, and `dependencies` are directories on the path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename, dirname
from typing import Any

from somatrace.check.launch import servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.project.file_tree import FileTree, beside

_MAX_BYTES = 512_000
_MOST_GRAPHS = 200


def launches(path: str, around: LaunchContext) -> Iterator[Launch]:
    """The one process of the server, which imports the modules in order, if the path is its configuration."""
    if basename(path) != "langgraph.json":
        return
    text = around.tree.text(path) or ""
    try:
        data = json.loads(text) if len(text) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        yield servers.undecidable(LaunchOrigin(path, 1, ""), path, "its JSON cannot be read")
        return
    targets = _targets(data)
    if not targets:
        return
    inside = _inside(path, data, around)
    names = [_name(target, path, inside) for target in targets]
    line = text.count("\n", 0, max(text.find(targets[0]), 0)) + 1
    for launch in servers.imported(names[0], inside, LaunchOrigin(path, line, f"langgraph: {targets[0]}")):
        more = tuple(name.partition(":")[0] for name in names[1:] if "/" not in name)
        yield replace(launch, start=replace(launch.start, also=more))


def _targets(data: dict[str, Any]) -> list[str]:
    """The app and the graphs in Python, in the order in which they are imported."""
    http, graphs = data.get("http"), data.get("graphs")
    found = [http.get("app")] if isinstance(http, dict) else []
    listed = graphs.values() if isinstance(graphs, dict) else ()
    found += [graph.get("path") if isinstance(graph, dict) else graph for graph in listed]
    named = [target for target in found if isinstance(target, str) and target]
    return [one for one in named if not one.partition(":")[0].endswith((".ts", ".js", ".mjs", ".tsx"))][
        :_MOST_GRAPHS
    ]


def _inside(path: str, data: dict[str, Any], around: LaunchContext) -> LaunchContext:
    """The server's context: its dependencies are on the path."""
    listed = data.get("dependencies")
    folders = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    local = [beside(dirname(path), one) for one in folders if one.startswith(".")][:_MOST_GRAPHS]
    return replace(around.at(dirname(path)), pythonpath=tuple(f"/{one}" for one in local))


def _name(target: str, path: str, inside: LaunchContext) -> str:
    """The target with the dotted name of its file, from its outermost package on."""
    file, _, attribute = target.partition(":")
    if not file.endswith(".py"):
        return target
    found = beside(dirname(path), file)
    if not inside.tree.is_file(found):
        return target
    dotted = _dotted(inside.tree, found, dirname(path))
    return f"{dotted}:{attribute}" if all(map(str.isidentifier, dotted.split("."))) else target


def _dotted(tree: FileTree, path: str, top: str) -> str:
    """The dotted name by which the modules beside the file import it."""
    parts = [basename(path)[:-3]]
    folder = dirname(path)
    while folder and folder != top and basename(folder) != "src":
        if not tree.is_file(f"{folder}/__init__.py") and not folder.startswith(f"{top}/" if top else ""):
            break
        parts.insert(0, basename(folder))
        folder = dirname(folder)
    return ".".join(parts)
