"""Tell the program's own code from that of installed distributions and the standard library.

Code belongs to a library if its file lies in the standard library, in a directory for distributions, or
beside the metadata of a distribution that contains it (as with `pip install --target`). Links are followed.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

_MAX_PATH: Final = 1024
#: Directories into which distributions are installed.
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
#: The program's first module is its own wherever it lies beside other modules.
_MAIN: Final = ("__main__", "__mp_main__")
#: Entries looked at in one directory, and distributions among them; in a larger one, everything counts as
#: installed.
_MAX_ENTRIES: Final = 20_000
_MAX_DISTRIBUTIONS: Final = 2000
_MAX_RECORD: Final = 2**20


def is_own_file(filename: str) -> bool:
    """Whether `filename` is a source file of the program itself. It need not exist."""
    return len(filename) <= _MAX_PATH and _is_own_file(filename)


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


def is_own_module(name: str) -> bool:
    """Whether `name` is an imported module of the program. Never imports one.

    A module without a file of its own (in a zip archive or a frozen program) counts as a library's.
    """
    module = sys.modules.get(name)
    if module is None:
        return False
    try:
        file = namespace_of(module).get("__file__")
        if file is None:
            return name in _MAIN and bool(namespace_of(module))  # an interactive session, or `python -c`
        if type(file) is not str or not is_own_file(file) or not Path(file).is_file():
            return False
        return name in _MAIN or not _is_distributed(Path(file).absolute(), [_directory(name, file)])
    except Exception:
        return False


def namespace_of(module: object) -> Mapping[str, Any]:
    """The namespace of a module, without its own attribute access, with which a lazy module loads."""
    try:
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


@functools.lru_cache(maxsize=2048)
def _is_own_file(filename: str) -> bool:
    if not filename or filename.startswith("<"):  # generated code, or a frozen module
        return False
    try:
        path = Path(filename).absolute()
        imported_from = {str(Path(entry).absolute()) for entry in sys.path}
        directories = [parent for parent in path.parents if str(parent) in imported_from]
        return (
            not _is_library_path(path)
            and not _is_library_path(path.resolve())
            and not _is_distributed(path, directories)
        )
    except (OSError, RuntimeError, ValueError):
        return False


def _is_library_path(path: Path) -> bool:
    somatrace, standard_library = _libraries()
    return not _INSTALLED.isdisjoint(path.parts) or not {somatrace, standard_library}.isdisjoint(path.parents)


@functools.cache
def _libraries() -> tuple[Path, Path]:
    return Path(__file__).absolute().parents[1], Path(os.__file__).resolve().parent


def _directory(module: str, file: str) -> Path:
    """The directory of a module's top-level package: one level above it for each package."""
    path = Path(file).absolute()
    levels = module.count(".") + path.name.startswith("__init__.")
    return path.parents[levels]


def _is_distributed(path: Path, directories: Iterable[Path]) -> bool:
    """Whether a distribution that is installed into one of the directories contains the file."""
    for directory in directories:
        top_level = path.relative_to(directory).parts[0].partition(".")[0]
        distributed = _distributed(directory)
        if distributed is None or top_level in distributed:
            return True
    return False


@functools.lru_cache(maxsize=256)
def _distributed(directory: Path) -> frozenset[str] | None:
    """The top-level modules of the distributions in a directory, None if they cannot be found out."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MAX_ENTRIES + 1)]
        installed = [name for name in names if name.endswith(".dist-info")]
        if len(names) > _MAX_ENTRIES or len(installed) > _MAX_DISTRIBUTIONS:
            return None
        return frozenset().union(*(_top_level(directory / name) for name in installed))
    except FileNotFoundError:
        return None if directory.is_dir() else frozenset()
    except OSError:
        return None


def _top_level(metadata: Path) -> set[str]:
    """The top-level modules that a distribution's list of files names."""
    with (metadata / "RECORD").open("rb") as record:
        lines = record.read(_MAX_RECORD).decode("utf-8", "replace").splitlines()
    return {line.partition(",")[0].partition("/")[0].partition(".")[0] for line in lines}
