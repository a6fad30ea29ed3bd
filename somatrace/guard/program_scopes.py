"""Decide whether an instrumentation scope belongs to the program itself, by the place of its module.

A scope is the program's if it is named after an imported module whose file lies outside the installed
distributions. Everything else counts as a library's: scopes named after no module, modules of the standard
library and of `site-packages`, modules beside the metadata of a distribution that contains them (as with
`pip install --target`), and modules without a file of their own (in zip archives and frozen programs).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
#: The program's first module is its own wherever it lies beside other modules.
_MAIN: Final = ("__main__", "__mp_main__")
#: Distributions examined in one directory; in a directory with more, everything counts as installed.
_MAX_DISTRIBUTIONS: Final = 2000
_MAX_RECORD: Final = 2**20


def is_program_scope(scope: str) -> bool:
    """Whether the scope's module lies outside installed distributions. Never imports a module."""
    module = sys.modules.get(scope)
    if module is None:
        return False
    try:
        # not getattr: a lazily loaded module would be imported
        file = _namespace(module).get("__file__")
        if file is None:
            return scope in _MAIN  # an interactive session, or `python -c`
        return type(file) is str and _outside_distributions(scope, file)
    except Exception:
        return False


def _namespace(module: Any) -> dict[str, Any]:
    found: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return found


def _outside_distributions(scope: str, file: str) -> bool:
    path = Path(file).absolute()
    standard_library = Path(os.__file__).resolve().parent
    for place in (path, path.resolve()):
        if not _INSTALLED.isdisjoint(place.parts) or standard_library in place.parents:
            return False
    if not path.is_file():
        return False
    if scope in _MAIN:
        return True
    names = scope.split(".")
    # the directory of the top-level module: one level above for each package
    levels = len(names) if path.name.startswith("__init__.") else len(names) - 1
    return not _is_distributed(names[0], path.parents[levels])


def _is_distributed(module: str, directory: Path) -> bool:
    """Whether a top-level module belongs to a distribution that is installed into its directory."""
    installed = [path for path in directory.iterdir() if path.name.endswith(".dist-info")]
    return len(installed) > _MAX_DISTRIBUTIONS or any(module in _top_level(path) for path in installed)


def _top_level(metadata: Path) -> set[str]:
    """The top-level modules that a distribution's list of files names."""
    with (metadata / "RECORD").open("rb") as record:
        lines = record.read(_MAX_RECORD).decode("utf-8", "replace").splitlines()
    return {line.partition(",")[0].partition("/")[0].partition(".")[0] for line in lines}
