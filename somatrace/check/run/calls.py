"""Interpret calls to functions and classes in the source tree, and to `init_tracing`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache

from somatrace.check.run import names, patching
from somatrace.check.run.cells import CALLS, SERVED
from somatrace.check.run.machine import MOST_CALLS, CodePlace, Frame, InitCall, Machine, PathEnded
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Arguments,
    Bound,
    Class,
    Command,
    Const,
    Deferred,
    External,
    Function,
    Instance,
    Items,
    NameScope,
    Partial,
    Table,
    Value,
    fresh,
    joined,
)


def init(machine: Machine, arguments: Arguments, place: CodePlace, *, wrapped: bool = False) -> Value:
    """Record a call to somatrace's `init_tracing`."""
    served = bool(machine.store.get(SERVED)) or machine.threads > 0
    name = machine.solid(arguments.positional[0]) if arguments.positional else UNKNOWN
    service = name.value if isinstance(name, Const) and isinstance(name.value, str) else None
    conditions = [*machine.conditions]
    content = arguments.get("trace_content") == Const(value=True)
    machine.ledger.inits.append(
        InitCall(place, service, content, served, tuple(conditions), tuple(machine.chain), wrapped)
    )
    if not served:
        low, high = machine.store.get(CALLS)
        machine.store.set(CALLS, (low + 1, high + 1))
    return NONE


def either(machine: Machine, choices: tuple[Value, ...], arguments: Arguments, place: CodePlace) -> Value:
    """Call one of several alternatives."""
    results: list[Value] = []

    def way(option: Value) -> Callable[[], bool]:
        def run() -> bool:
            results.append(machine.call(option, arguments, place))
            return True

        return run

    if not machine.split(*map(way, choices), under=place, exits_count=True):
        raise PathEnded
    result = results[0]
    for value in results[1:]:
        result = joined(result, value)
    return result


def partial(machine: Machine, value: Partial, arguments: Arguments, place: CodePlace) -> Value:
    """Call a partial: its stored arguments first, then the given ones."""
    mine = value.arguments
    replaced = {name for name, _ in arguments.named}
    named = tuple(pair for pair in mine.named if pair[0] not in replaced) + arguments.named
    given = Arguments(mine.positional + arguments.positional, named, mine.open or arguments.open)
    return machine.call(value.function, given, place)


def function(
    machine: Machine, value: Function, arguments: Arguments, place: CodePlace, me: Value | None = None
) -> Value:
    """Call a function: its body runs now, unless it is a generator or a coroutine."""
    if isinstance(value.node, ast.AsyncFunctionDef):
        kind = "manager" if value.manager else "generator" if yields(value.node) else "coroutine"
        return Deferred(value, _with(me, arguments), fresh(), kind)
    if not isinstance(value.node, ast.Lambda) and yields(value.node):
        return Deferred(value, _with(me, arguments), fresh(), "manager" if value.manager else "generator")
    return body(machine, value, _with(me, arguments), place, None)


def _with(me: Value | None, arguments: Arguments) -> Arguments:
    return (
        arguments if me is None else Arguments((me, *arguments.positional), arguments.named, arguments.open)
    )


def body(
    machine: Machine,
    value: Function,
    arguments: Arguments,
    place: CodePlace,
    resume: Callable[[Value], None] | None,
) -> Value:
    """Run a function's body at this point."""
    if len(machine.chain) >= MOST_CALLS or sum(1 for step in machine.chain if step == place) > 1:
        return UNKNOWN
    frame = Frame(machine.store.begin(), [], resume=resume)
    scope = NameScope("function", value.scope.module, value.scope, frame=frame, owner=value.scope.owner)
    scope.me = arguments.positional[0] if arguments.positional else None
    for name, given in names.arguments_of(value, arguments, None).items():
        machine.store.set((scope.ident, name), given)
    _stars(machine, value, arguments, scope)
    machine.chain.append(place)
    outer, loops = machine.conditions, machine.loops
    machine.conditions = frame.conditions = [*outer]
    machine.loops = []
    restore = [patching.apply(machine, patch, place) for patch in patching.patches(machine, value)]
    try:
        return _ended(machine, value, scope, frame, restore)
    finally:
        machine.chain.pop()
        machine.conditions, machine.loops = outer, loops


def _stars(machine: Machine, value: Function, arguments: Arguments, scope: NameScope) -> None:
    """`*args` and `**kwargs` of a function that forwards them."""
    spec = value.node.args
    plain = len(spec.posonlyargs) + len(spec.args)
    if spec.vararg:
        rest = None if arguments.open else arguments.positional[plain:]
        machine.store.set((scope.ident, spec.vararg.arg), Items(machine.items(rest)))
    if spec.kwarg:
        table = Table(fresh())
        taken = {argument.arg for argument in (*spec.args, *spec.kwonlyargs)}
        for name, given in arguments.named:
            if name not in taken:
                machine.store.set((table.ident, f"[{name!r}]"), given)
        machine.store.set((scope.ident, spec.kwarg.arg), UNKNOWN if arguments.open else table)


def _ended(
    machine: Machine, value: Function, scope: NameScope, frame: Frame, restore: list[Callable[[], None]]
) -> Value:
    try:
        if isinstance(value.node, ast.Lambda):
            result = machine.evaluate(value.node.body, scope)
            machine.store.commit()
            return result
        alive = machine.execute(value.node.body, scope)
    except BaseException:
        machine.store.rollback()
        raise
    if alive and not frame.returns:
        machine.store.commit()
        _put_back(restore)
        return NONE
    results = [given for given, _ in frame.returns]
    ends = [changes for _, changes in frame.returns]
    if alive:
        results.append(NONE)
        ends.append(machine.store.since(frame.depth))
    machine.store.rollback()
    if not ends:
        raise PathEnded
    machine.store.merge(ends)
    _put_back(restore)
    result = results[0]
    for other in results[1:]:
        result = joined(result, other)
    return result


def _put_back(restore: list[Callable[[], None]]) -> None:
    for put_back in reversed(restore):
        put_back()


@cache
def yields(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function's own body yields."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(inner))
    return False


def deferred(
    machine: Machine, value: Value, place: CodePlace, resume: Callable[[Value], None] | None = None
) -> Value:
    """Run the body of a called generator or coroutine, once only."""
    if not isinstance(value, Deferred) or machine.store.get((value.ident, "ran")):
        return UNKNOWN
    machine.store.set((value.ident, "ran"), UNKNOWN)
    return body(machine, value.function, value.arguments, place, resume)


# -- classes --------------------------------------------------------------------------------------


def construct(machine: Machine, cls: Class, arguments: Arguments, place: CodePlace) -> Value:
    """Create an instance and run its `__init__`."""
    made = Instance(cls, fresh())
    machine.store.set((made.ident, "instance"), made)
    for name in ("__new__", "__init__", "__post_init__"):
        method = lookup(machine, cls, name)
        if isinstance(method, Function):
            me: Value = cls if name == "__new__" else made
            function(machine, method, Arguments() if name == "__post_init__" else arguments, place, me)
    machine.store.set((made.ident, "arguments"), arguments)
    return made


def lookup(machine: Machine, cls: Class, name: str, after: Class | None = None) -> Value | None:
    """A class attribute, looked up along the bases. None if no class in the tree has it."""
    for base in mro(cls, after):
        found = machine.store.get((base.scope.ident, name))
        if isinstance(found, Value):
            return found
    return None


def mro(cls: Class, after: Class | None = None) -> list[Class]:
    """The bases that are classes in the tree, nearest first."""
    order: dict[int, Class] = {}
    waiting = [cls]
    while waiting and len(order) < 50:
        here = waiting.pop(0)
        order.setdefault(here.scope.ident, here)
        waiting = [base for base in here.bases if isinstance(base, Class)] + waiting
    found = list(order.values())
    if after is not None:
        found = [base for base in found if base is not cls and base is not after]
    return found


def foreign_bases(cls: Class) -> list[str]:
    """The dotted paths of the bases outside the tree."""
    return [base.path for one in mro(cls) for base in one.bases if isinstance(base, External)]


def command(machine: Machine, value: Command, place: CodePlace) -> Value:
    """Call a click command: its function runs and, for a group, one of the subcommands."""
    machine.call(value.function, Arguments(open=True), place)
    group = machine.store.get((value.ident, "flask"))
    if isinstance(group, External) and not machine.store.get((value.ident, "commands")):
        return machine.call(group, Arguments(), place)
    subs = machine.store.get((value.ident, "commands"), ())
    return choose(machine, tuple(subs) if isinstance(subs, tuple) else (), place)


def choose(machine: Machine, commands: tuple[Value, ...], place: CodePlace) -> Value:
    """Run one of several commands, as chosen by the command line."""
    if len(commands) == 1:
        machine.call(commands[0], Arguments(open=True), place)
    elif commands:
        either(machine, commands, Arguments(open=True), place)
    return NONE


def bound(machine: Machine, value: Bound, arguments: Arguments, place: CodePlace) -> Value:
    """Call a method with its object."""
    if isinstance(value.function, Function):
        return function(machine, value.function, arguments, place, value.me)
    return machine.call(value.function, arguments, place)
