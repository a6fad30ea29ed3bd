"""Arguments as an instrumentor may read them: reading them has no effect and runs no code of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

#: Deeper containers are left unread.
_MAX_DEPTH: Final = 64
#: The types of the clients' sentinels for omitted parameters.
_SENTINELS: Final = ("NotGiven", "Omit", "Unset")
_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)
#: How the values of subclasses are read without code of the subclass.
_SUBCLASSED: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
}


class Unread(dict[str, Any]):
    """Replaces a value that was left unread. It is empty for everything that an instrumentor may try."""

    def __repr__(self) -> str:
        return "(unread)"


def passive(value: Any, packages: tuple[str, ...], depth: int = 0) -> Any:
    """Copies of lists, tuples and dicts, plain values, and data types of the client's own `packages`.

    Everything else (generators, maps, lazy proxies, objects of the program) becomes `Unread`. Subclasses are
    read with the methods of the built-in type, whatever they override.
    """
    kind = type(value)
    if kind in _PLAIN or _is_data_of(kind, packages):
        return value
    for base, plain in _SUBCLASSED.items():
        if issubclass(kind, base):
            return plain(value)
    if depth > _MAX_DEPTH:
        return Unread()
    inner = depth + 1
    if issubclass(kind, dict):
        return {
            passive(key, packages, inner): passive(item, packages, inner)
            for key, item in dict.items(value)
            if issubclass(type(key), (str, int))
        }
    if issubclass(kind, list):
        return [passive(item, packages, inner) for item in list.__iter__(value)]
    if issubclass(kind, tuple):
        return tuple(passive(item, packages, inner) for item in tuple.__iter__(value))
    fields = _fields(kind, value)
    return Unread() if fields is None else passive(fields, packages, inner)


def given(parameters: Mapping[str, Any], packages: tuple[str, ...]) -> dict[str, Any]:
    """`passive` keyword arguments, without those that a client's sentinel says are omitted."""
    return {
        name: passive(value, packages)
        for name, value in parameters.items()
        if type(value).__name__ not in _SENTINELS or not _is_data_of(type(value), packages)
    }


def _is_data_of(kind: type, packages: tuple[str, ...]) -> bool:
    """Whether a library defines the type: its models, parameters and sentinels, but no iterators."""
    module = kind.__module__
    if not any(module == package or module.startswith(package + ".") for package in packages):
        return False
    return not any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__"))


def _fields(kind: type, value: Any) -> Mapping[str, Any] | None:
    """The fields of a pydantic model, as they are stored."""
    if not any(base.__module__ == "pydantic.main" and base.__name__ == "BaseModel" for base in kind.__mro__):
        return None
    if any("__dict__" in vars(base) for base in kind.__mro__ if base.__module__ != "pydantic.main"):
        return None
    fields = object.__getattribute__(value, "__dict__")
    return fields if type(fields) is dict else None
