"""Interpret `unittest.mock.patch`: a name is replaced while a block or a function runs."""

from __future__ import annotations

from collections.abc import Callable

from somatrace.check.run.machine import CodePlace, Machine
from somatrace.check.run.names import set_attribute
from somatrace.check.run.values import UNKNOWN, Const, External, Function, Value

_PATCHES = frozenset([
    "unittest.mock.patch()", "unittest.mock.patch.object()", "mock.patch()", "mock.patch.object()",
])  # fmt: skip
_REPLACEMENT = External("unittest.mock.MagicMock()")


def is_patch(value: Value) -> bool:
    """Whether the value is a patch that was made and not yet applied."""
    return isinstance(value, External) and value.path in _PATCHES


def apply(machine: Machine, patch: External, place: CodePlace) -> Callable[[], None]:
    """Replace the patched name. Returns what puts the old value back."""
    arguments = patch.arguments
    first = arguments.positional[0] if arguments.positional else UNKNOWN
    if patch.path.endswith(".object()"):
        owner, named, new = machine.solid(first), arguments.get("attribute", 1), arguments.get("new", 2)
        name = str(named.value) if isinstance(named, Const) else ""
    else:
        target = str(first.value) if isinstance(first, Const) else ""
        prefix, _, name = target.rpartition(".")
        owner, new = _owner(machine, prefix, place), arguments.get("new", 1)
    if not name:
        return lambda: None
    before = machine.attribute(owner, name, place)
    set_attribute(machine, owner, name, new if new is not None else _REPLACEMENT)
    return lambda: set_attribute(machine, owner, name, before)


def _owner(machine: Machine, path: str, place: CodePlace) -> Value:
    """The module or class of that path."""
    first, *rest = path.split(".")
    owner, name = machine.module(first, place) if first else UNKNOWN, first
    for part in rest:
        name = f"{name}.{part}"
        inner = machine.loader.find(name)
        owner = machine.module(name, place) if inner else machine.solid(machine.attribute(owner, part, place))
    return owner


def decorate(machine: Machine, patch: External, function: Function) -> Value:
    """`@patch("a.b")`: the name is replaced whenever the function runs."""
    held = patches(machine, function)
    machine.store.set(("patches", str(id(function.node))), (*held, patch))
    return function


def patches(machine: Machine, function: Function) -> tuple[External, ...]:
    """The patches that decorate a function."""
    held = machine.store.get(("patches", str(id(function.node))))
    return held if isinstance(held, tuple) else ()
