"""What passes through a framework, as an instrumentor may read it.

Frameworks hand on objects of their own with values of the program inside: messages, documents, commands. The
instrumentor gets copies of these, in which everything of the program is passive, too.
"""

from __future__ import annotations

import datetime as dt
import enum
import pathlib
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from somatrace.instrumentation.llm.isolation.passive import (
    PassiveReader,
    Unread,
    fields_of_model,
    has_own_dict,
    is_data_of,
)

#: Types of the standard library whose text is their value.
_VALUES: Final = (
    uuid.UUID, dt.date, dt.datetime, dt.time, dt.timedelta,
    pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath,
)  # fmt: skip
#: Definitions of tools, of which only names, texts and schemas are read.
_DEFINITIONS: Final = (types.FunctionType, types.BuiltinFunctionType)
#: What the wrappers of an instrumentor read of the arguments: positions and names. The others read them all.
_READ: Final[Mapping[str, tuple[int | str, ...]]] = {
    "AgentMiddleware.": (),
    "Command.__init__": (),
    "Pregel.": (1, "config"),
}


def copied(value: Any, packages: tuple[str, ...]) -> Any:
    """A passive copy of `value`, with data of the framework's `packages` as copies of their type."""
    return _FrameworkReader(packages).read(value)


def arguments_for(
    name: str, packages: tuple[str, ...]
) -> Callable[[Any, Any], tuple[tuple[Any, ...], dict[str, Any]]]:
    """What the wrapper of the method `name` gets in place of the program's arguments."""
    read = next((places for part, places in _READ.items() if part in name), None)

    def arguments(args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        reader = _FrameworkReader(packages)

        def of(place: int | str, value: Any) -> Any:
            return reader.read(value) if read is None or place in read else Unread()

        return (
            tuple(of(place, value) for place, value in enumerate(args)),
            {place: of(place, value) for place, value in kwargs.items()},
        )

    return arguments


class PassiveAttributes:
    """An object whose attributes are passive copies of those of `subject`."""

    def __init__(self, subject: Any, packages: tuple[str, ...]) -> None:
        self._subject = subject
        self._packages = packages

    def __getattr__(self, name: str) -> Any:
        return copied(getattr(self._subject, name), self._packages)


def _decimal() -> object:
    """`Decimal`; None if its module is not loaded, because then it has no values."""
    return getattr(sys.modules.get("decimal"), "Decimal", None)


class _FrameworkReader(PassiveReader):
    def _is_kept(self, kind: type) -> bool:
        return kind in _VALUES or kind in _DEFINITIONS or kind is _decimal() or issubclass(kind, type)

    def _object(self, kind: type, value: Any, depth: int) -> Any:
        if issubclass(kind, enum.Enum):
            return self.read(object.__getattribute__(value, "_value_"), depth)
        own = next((base for base in kind.__mro__ if is_data_of(base, self._packages)), None)
        fields = fields_of_model(kind, value)
        if fields is not None:
            extra = object.__getattribute__(value, "__pydantic_extra__")
            return self._model(own, fields, extra if type(extra) is dict else None, depth)
        fields = _fields_of_dataclass(kind, value)
        if fields is None and own is not None:
            fields = _slots(own, value)
        if not fields:
            return Unread()
        passive = {name: self.read(item, depth) for name, item in fields.items()}
        return passive if own is None else _made(own, passive)

    def _model(
        self, own: type | None, fields: Mapping[str, Any], extra: dict[str, Any] | None, depth: int
    ) -> Any:
        passive = {name: self.read(item, depth) for name, item in fields.items()}
        further = None if extra is None else {name: self.read(item, depth) for name, item in extra.items()}
        if own is None:
            return {**passive, **(further or {})}
        return _made(
            own,
            {
                "__dict__": passive,
                "__pydantic_extra__": further,
                "__pydantic_fields_set__": set(passive),
                "__pydantic_private__": None,
            },
        )


def _made(kind: type, fields: dict[str, Any]) -> Any:
    """An object of the framework's type `kind` with these fields, without any code of its own."""
    try:
        made: Any = object.__new__(kind)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
    except (AttributeError, TypeError):  # an abstract class: no data
        return Unread()
    return made


def _fields_of_dataclass(kind: type, value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass, as they are stored."""
    names = next((vars(base)["__dataclass_fields__"] for base in kind.__mro__ if _is_dataclass(base)), None)
    if names is None:
        return None
    fields = {name: item for name, item in _slots(kind, value).items() if name in names}
    if not any(has_own_dict(base) for base in kind.__mro__):
        try:
            stored = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return fields
        fields.update({name: stored[name] for name in names if name in stored})
    return fields


def _slots(kind: type, value: Any) -> dict[str, Any]:
    """What an object has in slots of its classes."""
    found = {}
    for base in kind.__mro__:
        for name, slot in vars(base).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    found[name] = slot.__get__(value, kind)
                except AttributeError:
                    continue
    return found


def _is_dataclass(kind: type) -> bool:
    return type(vars(kind).get("__dataclass_fields__")) is dict
