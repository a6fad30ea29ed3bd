"""Names of classes, read without running code of the class, and only if they have the form of identifiers.

A class can be created at run time with any text as its name, such as a prompt.
"""

from __future__ import annotations

import re
from typing import Any, Final

_PART: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_LOCAL: Final = r"<(?:locals|lambda|module|listcomp|setcomp|dictcomp|genexpr)>"
_IDENTIFIER: Final = re.compile(_PART)
_MODULE: Final = re.compile(rf"{_PART}(?:\.{_PART}){{0,15}}")
_QUALIFIED: Final = re.compile(rf"(?:{_PART}|{_LOCAL})(?:\.(?:{_PART}|{_LOCAL})){{0,15}}")
MAX_NAME: Final = 128
#: The descriptors of `type` itself: a metaclass can override what `cls.__name__` returns.
_name_of: Final = type.__dict__["__name__"].__get__
_qualified_name_of: Final = type.__dict__["__qualname__"].__get__
_module_of: Final = type.__dict__["__module__"].__get__
_mro_of: Final = type.__dict__["__mro__"].__get__


def is_module_name(text: object) -> bool:
    """Whether `text` has the form of a module's dotted name."""
    return type(text) is str and len(text) <= MAX_NAME and _MODULE.fullmatch(text) is not None


def is_qualified_name(text: object) -> bool:
    """Whether `text` has the form of the qualified name of a function or class."""
    return type(text) is str and len(text) <= MAX_NAME and _QUALIFIED.fullmatch(text) is not None


def type_name(value: object) -> str:
    """The name of a value's class, or of its nearest base class whose name is an identifier."""
    for base in _mro_of(type(value)):
        name = _name_of(base)
        if _IDENTIFIER.fullmatch(name):
            return str(name)
    return "object"


def class_names(value: object) -> list[str]:
    """The names of a value's class and base classes, with the module except for built-in ones."""
    found = []
    for base in _mro_of(type(value)):
        module = _module(base)
        if type(module) is str:
            name = _qualified_name_of(base)
            found.append(name if module == "builtins" else f"{module}.{name}")
    return found


def qualified_type_name(value: object) -> str:
    """The name of a value's class with its module, except for built-in ones; as `type_name` if it has a name
    that is no identifier."""
    for base in _mro_of(type(value)):
        name, module = _qualified_name_of(base), _module(base)
        if not is_qualified_name(name):
            continue
        if module == "builtins" or not is_module_name(module):
            return str(name)
        full = f"{module}.{name}"
        return full if len(full) <= MAX_NAME else str(name)
    return "object"


def _module(cls: type) -> Any:
    try:
        return _module_of(cls)
    except AttributeError:  # deleted from the class
        return None
