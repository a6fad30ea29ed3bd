"""Bind names: assignments, parameters, decorators and imports."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from somatrace.check.project.source import Imported
from somatrace.check.run.machine import CodePlace, Machine, PathEnded
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Arguments,
    Class,
    Const,
    External,
    Function,
    Instance,
    Items,
    LocalModule,
    NameScope,
    Pending,
    Table,
    Value,
)


def assign(machine: Machine, name: str, value: Value, scope: NameScope) -> None:
    """Bind a plain name in the scope that owns it."""
    machine.store.set((scope.shared.get(name, scope).ident, name), value)


def bind(machine: Machine, target: ast.expr, value: Value, scope: NameScope) -> None:
    """Bind the target of an assignment, loop or with-block."""
    if isinstance(target, ast.Name):
        assign(machine, target.id, value, scope)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(machine, target, value, scope)
    elif isinstance(target, ast.Starred):
        bind(machine, target.value, UNKNOWN, scope)
    elif isinstance(target, ast.Attribute):
        set_attribute(machine, machine.solid(machine.evaluate(target.value, scope)), target.attr, value)
    elif isinstance(target, ast.Subscript):
        _set_item(machine, target, value, scope)


def _unpack(machine: Machine, target: ast.Tuple | ast.List, value: Value, scope: NameScope) -> None:
    values = machine.elements(value.ident) if isinstance(value, Items) else None
    fits = values is not None and len(values) == len(target.elts)
    for number, element in enumerate(target.elts):
        bind(machine, element, values[number] if fits and values is not None else UNKNOWN, scope)


def _set_item(machine: Machine, target: ast.Subscript, value: Value, scope: NameScope) -> None:
    container = machine.solid(machine.evaluate(target.value, scope))
    key = machine.evaluate(target.slice, scope)
    if isinstance(container, Table) and isinstance(key, Const):
        machine.store.set((container.ident, f"[{key.value!r}]"), value)


def set_attribute(machine: Machine, owner: Value, name: str, value: Value) -> None:
    """`owner.name = value`, for owners whose attributes are tracked."""
    if isinstance(owner, LocalModule):
        machine.store.set((machine.scopes[owner.name].ident, name), value)
    elif isinstance(owner, Class):
        machine.store.set((owner.scope.ident, name), value)
    elif isinstance(owner, Instance):
        machine.store.set((owner.ident, name), value)
    elif isinstance(owner, External):
        root = owner.root()
        machine.store.set((root.ident or "", f"{owner.path}.{name}"), value)


def defaults(machine: Machine, arguments: ast.arguments, scope: NameScope) -> tuple[tuple[str, Value], ...]:
    """Default values, evaluated when the function is defined."""
    found: list[tuple[str, Value]] = []
    positional = [*arguments.posonlyargs, *arguments.args]
    for argument, default in zip(
        positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True
    ):
        found.append((argument.arg, machine.evaluate(default, scope)))
    for argument, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if given is not None:
            found.append((argument.arg, machine.evaluate(given, scope)))
    return tuple(found)


def decorate(machine: Machine, value: Value, decorators: Sequence[ast.expr], scope: NameScope) -> Value:
    """Apply decorators, innermost first. A library decorator's result is assumed to call the function."""
    made = [machine.evaluate(decorator, scope) for decorator in decorators]
    for decorator, node in zip(reversed(made), reversed(decorators), strict=True):
        result = machine.call(decorator, Arguments((value,)), machine.place(node, scope))
        if isinstance(decorator, External) and not isinstance(result, Function) and result == UNKNOWN:
            continue
        value = value if result in (UNKNOWN, NONE) else result
    return value


def arguments_of(function: Function, given: Arguments, me: Value | None) -> dict[str, Value]:
    """The value of each parameter; unknown unless known to be passed."""
    spec = function.node.args
    positional = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
    found: dict[str, Value] = dict.fromkeys(positional, UNKNOWN)
    found |= {argument.arg: UNKNOWN for argument in spec.kwonlyargs}
    if not given.open:
        found |= dict(function.defaults)
    values = given.positional if me is None else (me, *given.positional)
    found |= dict(zip(positional, values, strict=False))
    found |= {name: value for name, value in given.named if name in found}
    return found


# -- imports --------------------------------------------------------------------------------------


def plain_import(machine: Machine, node: ast.Import, scope: NameScope) -> None:
    """`import a.b as c`."""
    place = machine.place(node, scope)
    for alias in node.names:
        module = machine.module(alias.name, place)
        if alias.asname:
            assign(machine, alias.asname, module, scope)
        else:
            top = alias.name.partition(".")[0]
            assign(machine, top, machine.module(top, place), scope)


def import_from(machine: Machine, node: ast.ImportFrom, scope: NameScope) -> None:
    """`from a import b as c`, `from . import b`, `from a import *`."""
    place = machine.place(node, scope)
    package = machine.packages.get(scope.module.name, "")
    name = machine.loader.absolute(package, Imported(node.level, node.module or ""))
    if name is None:
        fail_import(machine)
        machine.end("failure")
        raise PathEnded
    module = machine.module(name, place)
    for alias in node.names:
        if alias.name == "*":
            _star(machine, module, scope)
        else:
            assign(
                machine, alias.asname or alias.name, _taken(machine, module, name, alias.name, place), scope
            )


def _taken(machine: Machine, module: Value, name: str, wanted: str, place: CodePlace) -> Value:
    if isinstance(module, LocalModule):
        held = machine.store.get((machine.scopes[module.name].ident, wanted))
        if held is None and machine.loader.find(f"{name}.{wanted}"):
            return machine.module(f"{name}.{wanted}", place)
        if held is None and machine.is_lazy(module):
            return Pending(module, wanted)
    return machine.attribute(module, wanted, place)


def _star(machine: Machine, module: Value, scope: NameScope) -> None:
    if isinstance(module, LocalModule):
        machine.wake(module)
        inner = machine.scopes[module.name]
        listed = machine.store.get((inner.ident, "__all__"))
        names = machine.elements(listed.ident) if isinstance(listed, Items) else None
        wanted = {str(value.value) for value in names or () if isinstance(value, Const)}
        for name, value in machine.store.cells_of(inner.ident):
            if name in wanted if names else not name.startswith("_"):
                assign(machine, name, value, scope)
    elif isinstance(module, External) and module.path in {"somatrace", "somatrace.tracing"}:
        assign(machine, "init_tracing", module.attribute("init_tracing"), scope)


def fail_import(machine: Machine) -> None:
    """Record the state in which an import fails, for the nearest handler that catches it."""
    for guard in reversed(machine.guards):
        if guard.imports:
            guard.import_failed.append(machine.store.since(guard.depth))
            return
