"""Whose code makes a call, found on the stack: a context variable would have to be set by that code."""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from types import FrameType
from typing import Final

#: Modules whose membership a set of packages remembers.
_MOST_MODULES: Final = 4096


class Packages:
    """A set of packages; every module inside one of them is in the set."""

    __slots__ = ("_known", "_names", "_prefixes")

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._prefixes = tuple(f"{name}." for name in names)
        self._known: dict[str, bool] = {}

    def __contains__(self, module: str) -> bool:
        known = self._known.get(module)
        if known is None:
            known = module in self._names or module.startswith(self._prefixes)
            if len(self._known) < _MOST_MODULES:
                self._known[module] = known
        return known


#: Frames to look at: those of an HTTP client, its retries and the library that uses it are fewer.
_MOST_FRAMES: Final = 64
#: Code that sends requests for others, known by name: where a program is packed together with its libraries
#: (AWS Lambda, PyInstaller), their files cannot be told from its own.
_BETWEEN: Final = Packages(
    "aiohttp", "anyio", "asyncio", "backoff", "concurrent", "contextlib", "functools", "google.auth",
    "httpcore", "httpx", "httpx2", "httpx_sse", "opentelemetry", "requests", "requests_toolbelt", "somatrace",
    "stamina", "tenacity", "threading", "urllib3", "wrapt",
)  # fmt: skip
_STANDARD_LIBRARY: Final = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib"))
#: Directories of installed distributions, by the name that is the same on all systems.
_INSTALLED: Final = ("site-packages", "dist-packages")


def called_by(packages: Packages) -> bool:
    """Whether code of `packages` makes the current call, directly or through other installed libraries.

    The nearest code decides: a function of the program that `packages` call makes calls of its own.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return False
        module = _module(frame)
        if module in packages:
            return True
        if module not in _BETWEEN and _is_program(frame.f_code.co_filename):
            return False
        frame = frame.f_back
    return False


def nearest_module(transparent: Packages) -> str:
    """The name of the module that makes the current call, not counting modules of `transparent` packages."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return ""
        module = _module(frame)
        if module not in transparent:
            return module
        frame = frame.f_back
    return ""


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""


@lru_cache(maxsize=4096)
def _is_program(filename: str) -> bool:
    """Whether a file belongs to the program: to no installed distribution, and not to Python itself."""
    if filename.startswith("<"):  # generated code, of dataclasses for example
        return False
    parts = filename.replace("\\", "/").split("/")
    if any(directory in parts for directory in _INSTALLED):
        return False
    return not "/".join(parts).startswith(_STANDARD_LIBRARY)
