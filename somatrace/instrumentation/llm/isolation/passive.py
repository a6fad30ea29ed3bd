"""Arguments as an instrumentor may read them: reading them has no effect and runs no code of the program."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Final

#: Deeper containers are left unread.
_MAX_DEPTH: Final = 64
#: Values after these are left unread: a container that holds itself twice has no end.
_MAX_VALUES: Final = 200_000
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


def passive(value: Any, packages: tuple[str, ...]) -> Any:
    """Copies of lists, tuples and dicts, plain values, and data types of the client's own `packages`.

    Everything else (generators, maps, lazy proxies, objects of the program) becomes `Unread`. Subclasses are
    read with the methods of the built-in type, whatever they override.
    """
    return PassiveReader(packages).read(value)


class PassiveReader:
    """Reads the arguments of one call, up to a number of values."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages
        self._left = _MAX_VALUES

    def read(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        self._left -= 1
        if kind in _PLAIN or self._is_kept(kind):
            return value
        for base, plain in _SUBCLASSED.items():
            if issubclass(kind, base):
                return plain(value)
        if depth > _MAX_DEPTH or self._left < 0:
            return Unread()
        inner = depth + 1
        if issubclass(kind, dict):
            return {
                self.read(key, inner): self.read(item, inner)
                for key, item in dict.items(value)
                if issubclass(type(key), (str, int))
            }
        if issubclass(kind, list):
            return [self.read(item, inner) for item in list.__iter__(value)]
        if issubclass(kind, tuple):
            return tuple(self.read(item, inner) for item in tuple.__iter__(value))
        return self._object(kind, value, inner)

    def _is_kept(self, kind: type) -> bool:
        """Whether values of this type may be read as they are."""
        return is_data_of(kind, self._packages)

    def _object(self, kind: type, value: Any, depth: int) -> Any:
        fields = fields_of_model(kind, value)
        return Unread() if fields is None else self.read(fields, depth)


def arguments_of(packages: tuple[str, ...]) -> Callable[[Any, Any], tuple[tuple[Any, ...], dict[str, Any]]]:
    """What the wrapper of a client's method gets in place of the program's arguments.

    Keyword arguments that a sentinel of the client says are omitted are left out.
    """

    def arguments(args: Any, kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        reader = PassiveReader(packages)
        given = {
            name: reader.read(value)
            for name, value in kwargs.items()
            if type(value).__name__ not in _SENTINELS or not is_data_of(type(value), packages)
        }
        return tuple(reader.read(value) for value in args), given

    return arguments


def is_data_of(kind: type, packages: tuple[str, ...]) -> bool:
    """Whether a library defines the type: its models, parameters and sentinels, but no iterators."""
    module = kind.__module__
    if not any(module == package or module.startswith(package + ".") for package in packages):
        return False
    return not any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__"))


def fields_of_model(kind: type, value: Any) -> Mapping[str, Any] | None:
    """The fields of a pydantic model, as they are stored."""
    if not any(base.__module__ == "pydantic.main" and base.__name__ == "BaseModel" for base in kind.__mro__):
        return None
    if any(has_own_dict(base) for base in kind.__mro__ if base.__module__ != "pydantic.main"):
        return None
    fields = object.__getattribute__(value, "__dict__")
    return fields if type(fields) is dict else None


def has_own_dict(kind: type) -> bool:
    """Whether a class replaces the `__dict__` of its instances."""
    return type(vars(kind).get("__dict__")) not in (types.GetSetDescriptorType, type(None))
