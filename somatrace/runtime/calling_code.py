"""Whose code makes a call, found on the stack: a context variable would have to be set by that code."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FrameType
from typing import Final

from somatrace.runtime.own_code import is_own_file

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


#: Frames to look at: those of an HTTP client, its retries, transports and the library that uses it are fewer.
_MOST_FRAMES: Final = 128
#: Code that sends requests for others, known by name: where a program is packed together with its libraries
#: (AWS Lambda, PyInstaller), their files cannot be told from its own.
_BETWEEN: Final = Packages(
    "aiohttp", "anyio", "asyncio", "backoff", "concurrent", "contextlib", "functools", "google.auth",
    "httpcore", "httpx", "httpx2", "httpx_sse", "opentelemetry", "requests", "requests_toolbelt", "somatrace",
    "stamina", "tenacity", "threading", "urllib3", "wrapt",
)  # fmt: skip
#: Code below them runs in a task of an event loop; above them is the code that has started the loop.
_LOOPS: Final = Packages("asyncio.base_events", "asyncio.events", "asyncio.runners", "trio._core", "uvloop")


_BYSTANDER, _LOOP, _CALLER, _TOOL_CALLER = range(4)


def called_by(packages: Packages, tool_callers: Packages) -> bool:
    """Whether code of `packages` makes the current call, directly or through other code.

    Code of the program in between belongs to the call: it may be the transport or the HTTP client that the
    packages were given. Calls of `tool_callers`, and of the program's own tasks on a loop that the packages
    run, are none of theirs.
    """
    frame: FrameType | None = sys._getframe(1)
    between: list[FrameType] = []
    in_task = 0
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return False
        name = frame.f_globals.get("__name__")
        part = _part(name if type(name) is str else "", packages, tool_callers)
        if part == _TOOL_CALLER:
            return False
        if part == _CALLER:
            return not any(map(_is_program, between[:in_task]))
        if part == _LOOP:
            in_task = len(between)
        else:
            between.append(frame)
        frame = frame.f_back
    return False


@lru_cache(maxsize=_MOST_MODULES)
def _part(module: str, packages: Packages, tool_callers: Packages) -> int:
    """The part of a module in a call. Asked for each frame of each request."""
    if module in tool_callers:
        return _TOOL_CALLER
    if module in packages:
        return _CALLER
    return _LOOP if module in _LOOPS else _BYSTANDER


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


def _is_program(frame: FrameType) -> bool:
    return _module(frame) not in _BETWEEN and is_own_file(frame.f_code.co_filename)
