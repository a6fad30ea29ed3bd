"""Evaluate expressions, including the calls they contain."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

from somatrace.check.run import names, operators, serving, waiting
from somatrace.check.run.machine import MOST_ITEMS, Frame, Machine, PathEnded, SeenEvent, stop_there
from somatrace.check.run.values import (
    NONE,
    UNBOUND,
    UNKNOWN,
    Arguments,
    Class,
    Const,
    Deferred,
    Either,
    External,
    Function,
    Instance,
    Items,
    NameScope,
    Super,
    Table,
    Value,
    fresh,
    is_init_tracing,
    joined,
    options,
)

_BUILTINS = frozenset(dir(builtins))
_MOST_ELEMENTS = 64
_MOST_LITERAL = 400


def evaluate(machine: Machine, node: ast.expr | None, scope: NameScope) -> Value:
    """The value of an expression; unknown for unsupported kinds."""
    if node is None:
        return NONE
    machine.step()
    handler = _EXPRESSIONS.get(type(node))
    if handler is not None:
        return handler(machine, node, scope)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            machine.evaluate(child, scope)
    return UNKNOWN


def _constant(_: Machine, node: ast.Constant, __: NameScope) -> Value:
    return Const(node.value)


def _name(machine: Machine, node: ast.Name, scope: NameScope) -> Value:
    for place in scope.chain():
        value = machine.store.get((place.shared.get(node.id, place).ident, node.id))
        if value is not None and value is not UNBOUND:
            return value if isinstance(value, Value) else UNKNOWN
    return External(node.id) if node.id in _BUILTINS else UNKNOWN


def _attribute(machine: Machine, node: ast.Attribute, scope: NameScope) -> Value:
    owner = machine.solid(machine.evaluate(node.value, scope))
    if isinstance(owner, Either):
        found = [machine.attribute(option, node.attr, machine.place(node, scope)) for option in owner.options]
        result = found[0]
        for value in found[1:]:
            result = joined(result, value)
        return result
    return machine.attribute(owner, node.attr, machine.place(node, scope))


def _call(machine: Machine, node: ast.Call, scope: NameScope) -> Value:
    callee = machine.solid(machine.evaluate(node.func, scope))
    if isinstance(callee, External) and callee.path == "super":
        return _super(scope)
    hidden = False
    positional: list[Value] = []
    for argument in node.args:
        if not isinstance(argument, ast.Starred):
            positional.append(machine.evaluate(argument, scope))
            continue
        value = machine.evaluate(argument.value, scope)
        elements = machine.elements(value.ident) if isinstance(value, Items) else None
        hidden = hidden or elements is None
        positional.extend(elements or ())
    named: list[tuple[str, Value]] = []
    for keyword in node.keywords:
        value = machine.evaluate(keyword.value, scope)
        if keyword.arg:
            named.append((keyword.arg, value))
        elif isinstance(value, Table):
            named.extend(_entries(machine, value))
        else:
            hidden = True
    arguments = Arguments(tuple(positional), tuple(named), hidden)
    before = len(machine.ledger.inits)
    result = machine.call(callee, arguments, machine.place(node, scope))
    if _is_named_init_tracing(node.func) and len(machine.ledger.inits) == before:
        _shadowed(machine, node, callee, scope)
    return result


def _super(scope: NameScope) -> Value:
    for around in scope.chain():
        if isinstance(around.owner, Class) and isinstance(around.me, Instance):
            return Super(around.owner, around.me)
    return UNKNOWN


def _entries(machine: Machine, table: Table) -> list[tuple[str, Value]]:
    cells = machine.store.cells_of(table.ident)
    return [(name[2:-2], value) for name, value in cells if name[:2] in {"['", '["'}]


def _is_named_init_tracing(callee: ast.expr) -> bool:
    name = callee.attr if isinstance(callee, ast.Attribute) else getattr(callee, "id", "")
    return name == "init_tracing"


def _shadowed(machine: Machine, node: ast.Call, callee: Value, scope: NameScope) -> None:
    if any(is_init_tracing(option) for option in options(callee)):
        return
    what = "a name in this tree"
    if isinstance(callee, External):
        what = f"`{callee.path}`"
    elif isinstance(callee, Function):
        what = f"the function in {callee.scope.module.path}:{callee.node.lineno}"
    machine.ledger.shadows.append(SeenEvent(machine.place(node, scope), what, tuple(machine.chain)))


def _lambda(machine: Machine, node: ast.Lambda, scope: NameScope) -> Value:
    return Function(node, scope, names.defaults(machine, node.args, scope))


def _items(machine: Machine, node: ast.List | ast.Tuple | ast.Set, scope: NameScope) -> Value:
    if len(node.elts) > _MOST_LITERAL and all(isinstance(element, ast.Constant) for element in node.elts):
        return Items(machine.items(None))
    values: list[Value] = []
    known = True
    for element in node.elts:
        if isinstance(element, ast.Starred):
            inner = machine.evaluate(element.value, scope)
            more = machine.elements(inner.ident) if isinstance(inner, Items) else None
            known = known and more is not None and len(values) <= MOST_ITEMS
            if not known:
                continue
            values.extend(more or ())
        else:
            values.append(machine.evaluate(element, scope))
    return Items(machine.items(tuple(values) if known else None))


def _table(machine: Machine, node: ast.Dict, scope: NameScope) -> Value:
    table = Table(fresh())
    for key, value in zip(node.keys, node.values, strict=True):
        made = machine.evaluate(value, scope)
        if key is None:
            for name, inner in machine.store.cells_of(made.ident) if isinstance(made, Table) else ():
                machine.store.set((table.ident, name), inner)
            continue
        found = machine.evaluate(key, scope)
        if isinstance(found, Const):
            machine.store.set((table.ident, f"[{found.value!r}]"), made)
    return table


def _subscript(machine: Machine, node: ast.Subscript, scope: NameScope) -> Value:
    container = machine.solid(machine.evaluate(node.value, scope))
    key = machine.evaluate(node.slice, scope)
    if isinstance(container, Table) and isinstance(key, Const):
        return machine.store.get((container.ident, f"[{key.value!r}]"), UNKNOWN)  # type: ignore[no-any-return]
    if isinstance(container, Items) and isinstance(key, Const) and isinstance(key.value, int):
        elements = machine.elements(container.ident)
        if elements is not None and -len(elements) <= key.value < len(elements):
            return elements[key.value]
    if isinstance(container, External) and container.path == "sys.modules" and isinstance(key, Const):
        return External(str(key.value))
    return UNKNOWN


def _await(machine: Machine, node: ast.Await, scope: NameScope) -> Value:
    value = machine.evaluate(node.value, scope)
    place = machine.place(node, scope)
    if isinstance(node.value, ast.Call) and isinstance(value, External) and waiting.is_future(value):
        serving.start(machine, UNKNOWN, place)
    return waiting.awaited(machine, value, place)


def _yield(machine: Machine, node: ast.Yield, scope: NameScope) -> Value:
    value = machine.evaluate(node.value, scope)
    frame = scope.frame
    if isinstance(frame, Frame) and frame.resume is not None:
        if frame.resume is stop_there:
            frame.returns.append((value, machine.store.since(frame.depth)))
            raise PathEnded
        frame.resume(value)
    return UNKNOWN


def _yield_from(machine: Machine, node: ast.YieldFrom, scope: NameScope) -> Value:
    value = machine.evaluate(node.value, scope)
    resume = getattr(scope.frame, "resume", None)
    if isinstance(value, Deferred):
        machine.run_deferred(value, machine.place(node, scope), resume)
    return UNKNOWN


def _walrus(machine: Machine, node: ast.NamedExpr, scope: NameScope) -> Value:
    value = machine.evaluate(node.value, scope)
    names.bind(machine, node.target, value, scope)
    return value


def _comprehension(
    machine: Machine, node: ast.ListComp | ast.SetComp | ast.DictComp, scope: NameScope
) -> Value:
    first = node.generators[0]
    over = machine.solid(machine.evaluate(first.iter, scope))
    elements = machine.elements(over.ident) if isinstance(over, Items) else None
    inner = NameScope("function", scope.module, scope, frame=scope.frame)
    parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    if elements is not None and len(node.generators) == 1 and not first.ifs:
        made: list[Value] = []
        for element in elements[:_MOST_ELEMENTS]:
            names.bind(machine, first.target, element, inner)
            made += [machine.evaluate(part, inner) for part in parts]
        return Items(machine.items(tuple(made))) if isinstance(node, ast.ListComp) else UNKNOWN
    names.bind(machine, first.target, UNKNOWN, inner)
    machine.perhaps(lambda: [machine.evaluate(part, inner) for part in parts], machine.place(node, scope))
    return Items(machine.items(None)) if isinstance(node, ast.ListComp) else UNKNOWN


def _not_run(_: Machine, __: ast.expr, ___: NameScope) -> Value:
    return UNKNOWN


def _formatted(machine: Machine, node: ast.JoinedStr, scope: NameScope) -> Value:
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            machine.evaluate(part.value, scope)
    return UNKNOWN


_EXPRESSIONS: dict[type[ast.expr], Callable[[Machine, Any, NameScope], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Lambda: _lambda,
    ast.List: _items,
    ast.Tuple: _items,
    ast.Set: _items,
    ast.Dict: _table,
    ast.Subscript: _subscript,
    ast.BoolOp: operators.logical,
    ast.IfExp: operators.choice,
    ast.UnaryOp: operators.unary,
    ast.BinOp: operators.binary,
    ast.Compare: operators.comparison,
    ast.Await: _await,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
    ast.NamedExpr: _walrus,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _not_run,
    ast.JoinedStr: _formatted,
}
