"""Evaluate operators and determine which of their operands run."""

from __future__ import annotations

import ast
import operator
import sys
from collections.abc import Callable
from typing import Any

from somatrace.check.run.machine import Machine, PathEnded
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Const,
    External,
    Function,
    Items,
    LocalModule,
    NameScope,
    Value,
    is_init_tracing,
    joined,
    truth,
)

#: Longer texts count as unknown: one that is added to itself doubles.
_LONGEST = 10_000


def logical(machine: Machine, node: ast.BoolOp, scope: NameScope) -> Value:
    """`a and b`: the right side may run, unless the left side is known."""
    stops = isinstance(node.op, ast.Or)
    results: list[Value] = []

    def rest(number: int) -> None:
        value = machine.solid(machine.evaluate(node.values[number], scope))
        known = truth(value)
        if number + 1 == len(node.values) or known is stops:
            results.append(value)
        elif known is None:
            results.append(value)
            machine.perhaps(lambda: rest(number + 1), machine.place(node, scope))
        else:
            rest(number + 1)

    rest(0)
    result = results[0]
    for value in results[1:]:
        result = joined(result, value)
    return result


def choice(machine: Machine, node: ast.IfExp, scope: NameScope) -> Value:
    """`a if test else b`."""
    known = truth(machine.solid(machine.evaluate(node.test, scope)))
    if known is not None:
        return machine.evaluate(node.body if known else node.orelse, scope)
    results: list[Value] = []

    def way(part: ast.expr) -> Callable[[], bool]:
        def run() -> bool:
            results.append(machine.evaluate(part, scope))
            return True

        return run

    if not machine.split(way(node.body), way(node.orelse), under=machine.place(node, scope)):
        raise PathEnded
    return joined(results[0], results[-1])


def unary(machine: Machine, node: ast.UnaryOp, scope: NameScope) -> Value:
    """`not a`, `-a`."""
    value = machine.solid(machine.evaluate(node.operand, scope))
    if isinstance(node.op, ast.Not):
        known = truth(value)
        return UNKNOWN if known is None else Const(not known)
    if isinstance(node.op, ast.USub) and isinstance(value, Const) and isinstance(value.value, int):
        return Const(-value.value)
    return UNKNOWN


def binary(machine: Machine, node: ast.BinOp, scope: NameScope) -> Value:
    """A binary operation. Left operands are iterated, not recursed into, because sums can be long."""
    parts: list[ast.BinOp] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        parts.append(left)
        left = left.left
    value = machine.solid(machine.evaluate(left, scope))
    for part in reversed(parts):
        right = machine.solid(machine.evaluate(part.right, scope))
        value = _added(machine, value, right) if isinstance(part.op, ast.Add) else UNKNOWN
    return value


def _added(machine: Machine, left: Value, right: Value) -> Value:
    if isinstance(left, Const) and isinstance(right, Const) and isinstance(left.value, str):
        if not isinstance(right.value, str) or len(left.value) + len(right.value) > _LONGEST:
            return UNKNOWN
        return Const(left.value + right.value)
    if isinstance(left, Items) and isinstance(right, Items):
        first, second = machine.elements(left.ident), machine.elements(right.ident)
        return Items(machine.items(None if first is None or second is None else first + second))
    return UNKNOWN


_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: lambda a, b: a == b,
    ast.IsNot: lambda a, b: a != b,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}


def comparison(machine: Machine, node: ast.Compare, scope: NameScope) -> Value:
    """A comparison of constants; unknown unless both sides are known."""
    left = machine.solid(machine.evaluate(node.left, scope))
    rights = [machine.solid(machine.evaluate(right, scope)) for right in node.comparators]
    compare = _COMPARISONS.get(type(node.ops[0]))
    if len(rights) != 1 or compare is None:
        return UNKNOWN
    first, second = _plain(machine, left), _plain(machine, rights[0])
    if first is None or second is None:
        return _against_none(left, rights[0], node.ops[0])
    try:
        return Const(compare(first[0], second[0]))
    except TypeError:
        return UNKNOWN


def _against_none(left: Value, right: Value, how: ast.cmpop) -> Value:
    known = isinstance(left, Function | LocalModule) or is_init_tracing(left)
    if known and right == NONE and isinstance(how, ast.Is | ast.IsNot):
        return Const(isinstance(how, ast.IsNot))
    return UNKNOWN


def _plain(machine: Machine, value: Value) -> tuple[Any] | None:
    if isinstance(value, Const):
        return (value.value,)
    if isinstance(value, External) and value.path == "sys.version_info":
        return (tuple(sys.version_info[:2]),)
    if isinstance(value, Items):
        elements = machine.elements(value.ident)
        if elements is not None and all(isinstance(element, Const) for element in elements):
            return (tuple(element.value for element in elements if isinstance(element, Const)),)
    return None
