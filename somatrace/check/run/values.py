"""Abstract values of expressions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

#: `somatrace.init_tracing` and `somatrace.tracing.init_tracing` are the same function.
OURS = ("somatrace.init_tracing", "somatrace.tracing.init_tracing")
_MOST_OPTIONS = 6
_numbers = count(1)


def fresh() -> int:
    """A unique object number."""
    return next(_numbers)


@dataclass(frozen=True, slots=True)
class Value:
    """Base class of abstract values. A bare instance is an unknown value."""


UNKNOWN = Value()


@dataclass(frozen=True, slots=True)
class Unbound(Value):
    """A name left unbound on some path."""


UNBOUND = Unbound()


@dataclass(frozen=True, slots=True)
class Const(Value):
    """A Python constant, distinguished by type too (`1` is not `True`)."""

    value: object
    kind: type = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self.value))


NONE = Const(None)


@dataclass(frozen=True, slots=True)
class Items(Value):
    """A list, tuple or set; its elements are in the store under `ident`."""

    ident: int


@dataclass(frozen=True, slots=True)
class Table(Value):
    """A dict; its values are in the store under `ident`, by constant key."""

    ident: int


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a call. `open` if a star argument may add unknown ones."""

    positional: tuple[Value, ...] = ()
    named: tuple[tuple[str, Value], ...] = ()
    open: bool = False

    def get(self, name: str, position: int | None = None) -> Value | None:
        for key, value in self.named:
            if key == name:
                return value
        if position is not None and position < len(self.positional):
            return self.positional[position]
        return None

    def all(self) -> tuple[Value, ...]:
        return self.positional + tuple(value for _, value in self.named)


@dataclass(frozen=True, slots=True)
class External(Value):
    """Something outside the tree, by dotted path; `()` in it marks a call's result."""

    path: str
    ident: int = 0
    arguments: Arguments = field(default=Arguments(), compare=False)
    owner: External | None = field(default=None, compare=False)

    def attribute(self, name: str) -> External:
        return External(f"{self.path}.{name}", self.ident, Arguments(), self)

    def made(self, arguments: Arguments) -> External:
        return External(f"{self.path}()", fresh(), arguments, self)

    def root(self) -> External:
        """The created object or module at the start of the attribute path."""
        found = self
        while found.owner is not None and found.owner.ident == found.ident:
            found = found.owner
        return found


@dataclass(frozen=True, slots=True)
class LocalModule(Value):
    """A module in the tree, by its name in the running process."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Pending(Value):
    """A name in a module without effects, resolved on use."""

    module: LocalModule
    name: str


@dataclass(eq=False, slots=True)
class NameScope:
    """Where names are looked up: a module, a class body or a call of a function."""

    kind: str
    module: LocalModule
    parent: NameScope | None = None
    ident: int = field(default_factory=fresh)
    shared: dict[str, NameScope] = field(default_factory=dict)
    frame: object = None
    owner: Value | None = None
    me: Value | None = None

    def chain(self) -> Iterator[NameScope]:
        """The scopes for looking up a name, innermost first; a class body is visible only to itself."""
        yield self
        scope = self.parent
        while scope is not None:
            if scope.kind != "class":
                yield scope
            scope = scope.parent


@dataclass(frozen=True, slots=True)
class Function(Value):
    """A function or lambda in the tree."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: NameScope
    defaults: tuple[tuple[str, Value], ...] = field(default=(), compare=False)
    manager: bool = False
    plain: bool = False

    @property
    def name(self) -> str:
        return getattr(self.node, "name", "lambda")


@dataclass(frozen=True, slots=True)
class Class(Value):
    """A class in the tree; its attributes are in the store under its scope's number."""

    node: ast.ClassDef
    scope: NameScope
    bases: tuple[Value, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Instance(Value):
    """An instance of a class in the tree."""

    cls: Class
    ident: int


@dataclass(frozen=True, slots=True)
class Bound(Value):
    """A method together with its object."""

    function: Value
    me: Value


@dataclass(frozen=True, slots=True)
class Super(Value):
    """`super()`: the methods after those of `cls` in the MRO of `me`'s class."""

    cls: Class
    me: Instance


@dataclass(frozen=True, slots=True)
class Partial(Value):
    """`functools.partial`: a function and the arguments it already has."""

    function: Value
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Deferred(Value):
    """A called generator or coroutine: its body runs when it is iterated, entered or awaited."""

    function: Function
    arguments: Arguments
    ident: int
    kind: str


@dataclass(frozen=True, slots=True)
class Command(Value):
    """A click command or group: the function, and the number under which subcommands are stored."""

    function: Value
    ident: int
    group: bool


@dataclass(frozen=True, slots=True)
class Either(Value):
    """One of several values, depending on the run."""

    options: tuple[Value, ...]


def options(value: Value) -> tuple[Value, ...]:
    """The alternatives of a value: itself, unless it is one of several."""
    return value.options if isinstance(value, Either) else (value,)


def joined(first: Value, second: Value) -> Value:
    """Join two values where two paths meet."""
    if first == second:
        return first
    found = list(options(first))
    found.extend(value for value in options(second) if value not in found)
    if len(found) > _MOST_OPTIONS and not any(is_init_tracing(value) for value in found):
        return UNKNOWN
    return Either(tuple(found[: _MOST_OPTIONS * 4]))


def is_init_tracing(value: Value) -> bool:
    """Whether the value is somatrace's `init_tracing`."""
    return isinstance(value, External) and value.path in OURS


def truth(value: Value) -> bool | None:
    """The truth value in a condition; None if known only at run time."""
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, External) and value.path in {
        "typing.TYPE_CHECKING",
        "typing_extensions.TYPE_CHECKING",
    }:
        return False
    if isinstance(value, Function | Class | LocalModule | Partial | Bound) or is_init_tracing(value):
        return True
    if isinstance(value, Either):
        found = {truth(option) for option in value.options}
        return found.pop() if len(found) == 1 else None
    return None
