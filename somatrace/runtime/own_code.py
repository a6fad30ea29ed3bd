"""Tell the program's own code from that of installed distributions and the standard library."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_MAX_PATH: Final = 1024
#: Directories into which distributions are installed.
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def is_own_file(filename: str) -> bool:
    """Whether `filename` is a source file of the program itself, judged by its path alone."""
    return len(filename) <= _MAX_PATH and _is_own_file(filename)


@functools.lru_cache(maxsize=2048)
def _is_own_file(filename: str) -> bool:
    if not filename or filename.startswith("<"):  # generated code, or a frozen module
        return False
    path = Path(filename).absolute()
    if not _INSTALLED.isdisjoint(path.parts):
        return False
    somatrace, standard_library = Path(__file__).absolute().parents[1], Path(os.__file__).absolute().parent
    return somatrace not in path.parents and standard_library not in path.parents


def is_own_code(filename: str, namespace: dict[str, Any]) -> bool:
    """Whether code of `filename` that runs in `namespace` belongs to one of the program's own modules.

    Code that the program executes from a text has another namespace or file name. Its names can come from
    anywhere, such as from a model's answer.
    """
    if not is_own_file(filename):
        return False
    # the mapping may be of a subclass that overrides `get`
    file = dict.get(namespace, "__file__")
    if type(file) is str and file == filename:
        return True
    return namespace is namespace_of(sys.modules.get("__main__"))


def namespace_of(module: object) -> Mapping[str, Any]:
    """The namespace of a module, without its own attribute access, with which a lazy module loads."""
    try:
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}
