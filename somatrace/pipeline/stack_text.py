"""Read the place of a failure from the text of a traceback, which libraries put on exception events.

An exception's message can contain any text, also one that looks like types and frames. So a type is read
only if such an exception class is loaded, and a frame only if its file is a module of the program in which a
function has its name.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any, Final

from somatrace.context.failure_place import (
    CAUSE,
    CONTEXT,
    MAX_EXCEPTIONS,
    MAX_FRAMES,
    MEMBER,
    RaisedException,
    frame_line,
    rendered,
)
from somatrace.runtime.own_code import is_own_file, namespace_of
from somatrace.runtime.type_names import is_qualified_name

#: Characters read from the end of a text, where its last exception is.
_MAX_READ: Final = 64 * 1024
#: Objects of a module that are searched for functions.
_MAX_OBJECTS: Final = 20_000

#: What precedes each line of an exception group's traceback.
_MARGIN: Final = re.compile(r" {2,64}(?:\| ?|\+ (?=Exception Group))")
_HEADER: Final = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME: Final = re.compile(r'  File "([^"\n]{1,1024})", line ([0-9]{1,9}), in (\S{1,128})')
_TYPE: Final = re.compile(r"([\w.<>]{1,256})(?::|$)")
_MEMBER: Final = re.compile(r" {2,64}\+(?:-\+)?-{10,20} [0-9]{1,5} -{10,20}")
_RELATIONS: Final = {
    "The above exception was the direct cause of the following exception:": CAUSE,
    "During handling of the above exception, another exception occurred:": CONTEXT,
}


#: by file: its module, and the functions of the module by name, each with its first line and qualified name
_modules: Final[dict[str, tuple[str, Mapping[str, list[tuple[int, str]]]]]] = {}
_MAX_MODULES: Final = 256


def place_in_text(text: str, known_type: str) -> str:
    """The place of a failure, as `failure_place` writes it, from the text of a traceback.

    `known_type` is the event's exception type, if it may leave. Returns an empty text if the traceback proves
    nothing beyond it.
    """
    chain, members = _read(text[-_MAX_READ:], known_type)
    if not chain:
        return ""
    # a text names a relation before the later exception; here it precedes the earlier one
    relations = ["", *(one.relation for one in reversed(chain))]
    found = [
        one._replace(relation=relation, type=one.type or "Exception")
        for relation, one in zip(relations, reversed(chain), strict=False)
    ]
    found[0] = found[0]._replace(type=chain[-1].type or known_type or "Exception")
    found[1:1] = [one._replace(type=one.type or "Exception") for one in members]
    return rendered(found) if len(found) > 1 or found[0].frames else ""


def _read(text: str, known_type: str) -> tuple[list[RaisedException], list[RaisedException]]:
    """The exceptions of a chain in the order they were raised, and the members of groups among them."""
    chain: list[RaisedException] = []
    members: list[RaisedException] = []
    frames: list[str] | None = None  # None between an exception's type and the next header: its message
    relation, in_members = "", False
    for line in text.splitlines():
        bare = _MARGIN.sub("", line, count=1)
        if _MEMBER.match(line):
            in_members, frames = True, []
        elif _HEADER.fullmatch(bare):
            in_members, frames = in_members and line.startswith("    "), []
        elif frames is None:
            relation = _RELATIONS.get(bare, relation)
        elif found := _FRAME.fullmatch(bare):
            frames[:0] = _own_frame(found[1], int(found[2]), found[3])
        elif not bare.startswith("  "):
            type_line = _TYPE.match(bare)
            name = _checked_type(type_line[1], known_type) if type_line is not None else ""
            one = RaisedException(MEMBER if in_members else relation, name, frames[:MAX_FRAMES])
            (members if in_members else chain).append(one)
            frames = None
            if len(chain) + len(members) > MAX_EXCEPTIONS:
                del (members or chain)[0]
    return chain, members


def _checked_type(name: str, known_type: str) -> str:
    """The name of a loaded exception class, or the known type; an empty text for any other word."""
    if not is_qualified_name(name):
        return ""
    if known_type == name or known_type.endswith(f".{name}"):
        return known_type
    return name if _is_loaded_exception(name) else ""


def _is_loaded_exception(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts)):
        for module in [".".join(parts[:count])] if count else ["builtins", "__main__"]:
            found: Any = sys.modules.get(module)
            for part in parts[count:]:
                found = _namespace(found).get(part)
            if issubclass(type(found), type) and issubclass(found, BaseException):
                return True
    return False


def _namespace(owner: object) -> Mapping[str, Any]:
    if issubclass(type(owner), type):
        namespace: Mapping[str, Any] = type.__dict__["__dict__"].__get__(owner)
        return namespace
    return namespace_of(owner)


def _own_frame(file: str, line: int, function: str) -> list[str]:
    """The frame, if the program certainly has it."""
    if not is_own_file(file):
        return []
    module, functions = _module(file)
    if not module:
        return []
    if function == "<module>":
        return [frame_line(module, function, line)]
    above = [place for place in functions.get(function, ()) if place[0] <= line]
    return [frame_line(module, max(above)[1], line)] if above else []


def _module(file: str) -> tuple[str, Mapping[str, list[tuple[int, str]]]]:
    """The name and functions of the loaded module of a file."""
    known = _modules.get(file)
    if known is None:
        loaded = [(name, namespace_of(module)) for name, module in sys.modules.copy().items()]
        known = next(
            (
                (name, _functions(namespace, file))
                for name, namespace in loaded
                if type(namespace.get("__file__")) is str and namespace["__file__"] == file
            ),
            ("", {}),
        )
        if known[0]:  # a file without a module may get one later
            if len(_modules) >= _MAX_MODULES:
                _modules.clear()
            _modules[file] = known
    return known


def _functions(namespace: Mapping[str, Any], file: str) -> dict[str, list[tuple[int, str]]]:
    """The functions and methods defined in `file`, as far as a module's namespace leads to them."""
    found: dict[str, list[tuple[int, str]]] = {}
    seen: set[int] = set()
    waiting: list[Any] = list(namespace.values())
    wrapper = getattr(sys.modules.get("wrapt"), "FunctionWrapper", None)
    while waiting and len(seen) < _MAX_OBJECTS:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        kind = type(one)
        if kind is CodeType:
            if one.co_filename == file:
                found.setdefault(one.co_name, []).append((one.co_firstlineno, one.co_qualname))
                waiting.extend(const for const in one.co_consts if type(const) is CodeType)
        elif kind is FunctionType:
            waiting += [one.__code__, one.__dict__.get("__wrapped__"), *_cells(one)]
        elif kind is staticmethod or kind is classmethod:
            waiting.append(one.__func__)
        elif kind is property:
            waiting += [one.fget, one.fset, one.fdel]
        elif wrapper is not None and issubclass(kind, wrapper):  # a generator function decorated with `span`
            waiting.append(one.__wrapped__)
        elif issubclass(kind, type) and _namespace(one).get("__module__") == namespace.get("__name__"):
            waiting.extend(_namespace(one).values())
    return found


def _cells(function: FunctionType) -> list[Any]:
    """The functions that a decorated function encloses."""
    contents = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            contents.append(cell.cell_contents)
    return contents
