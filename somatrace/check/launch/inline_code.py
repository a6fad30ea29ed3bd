"""Code on the command line: `python -c "..."`."""

from __future__ import annotations

import re

from somatrace.check.launch.around import LaunchContext
from somatrace.check.launch.module_use import module_use
from somatrace.check.project.source import Sources, UnparsableError, parse
from somatrace.check.run.loader import Loader

#: Calls by which code starts what its import statements do not name.
_STARTS = re.compile(
    r"\b(?:os\.(?:exec|spawn|system|popen)|subprocess|runpy|importlib|__import__|exec\(|eval\()"
)
_IMPORTS = re.compile(r"\b(?:import|from)[ \t]+([\w.]+(?:[ \t]*,[ \t]*[\w.]+)*)")


def is_tool(code: str, around: LaunchContext) -> bool:
    """Whether the code uses nothing of the tree, serves nothing and calls no model: it downloads or waits."""
    try:
        use = module_use(parse(code.encode()), code.encode())
    except UnparsableError:
        return False
    if use.app or use.serves or use.model or _STARTS.search(code):
        return False
    loader = Loader(around.tree, Sources(around.tree), around.roots("."))
    names = [name.strip() for listed in _IMPORTS.findall(code) for name in listed.split(",")]
    return all(loader.find(name.partition(".")[0]) is None for name in names)
