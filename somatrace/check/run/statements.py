"""Run statements in order and track which of them are certain to run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from somatrace.check.run import blocks, exits, names
from somatrace.check.run.machine import Frame, Machine, PathEnded
from somatrace.check.run.values import NONE, UNBOUND, Arguments, Class, External, Function, NameScope, truth


def execute(machine: Machine, body: Sequence[ast.stmt], scope: NameScope) -> bool:
    """Run statements in order and return whether the path continues."""
    try:
        for node in body:
            machine.step()
            handler = _STATEMENTS.get(type(node))
            if handler is not None:
                handler(machine, node, scope)
    except PathEnded:
        return False
    return True


def _expression(machine: Machine, node: ast.Expr, scope: NameScope) -> None:
    machine.evaluate(node.value, scope)


def _assign(machine: Machine, node: ast.Assign, scope: NameScope) -> None:
    value = machine.evaluate(node.value, scope)
    for target in node.targets:
        names.bind(machine, target, value, scope)


def _annotated(machine: Machine, node: ast.AnnAssign, scope: NameScope) -> None:
    if node.value is not None:
        names.bind(machine, node.target, machine.evaluate(node.value, scope), scope)


def _augmented(machine: Machine, node: ast.AugAssign, scope: NameScope) -> None:
    load: Any = ast.copy_location(ast.BinOp(_loaded(node.target), node.op, node.value), node)
    names.bind(machine, node.target, machine.evaluate(load, scope), scope)


def _loaded(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Name):
        return ast.copy_location(ast.Name(node.id, ast.Load()), node)
    return node


def _if(machine: Machine, node: ast.If, scope: NameScope) -> None:
    """Iterate over a chain of elifs instead of recursing: generated code has thousands."""
    arms: list[tuple[ast.If, bool]] = []
    rest: Sequence[ast.stmt] = [node]
    while len(rest) == 1 and isinstance(rest[0], ast.If):
        arm = rest[0]
        known = truth(machine.solid(machine.evaluate(arm.test, scope)))
        if known is not False:
            arms.append((arm, known is True))
        rest = arm.orelse
        if known is True:
            rest = ()
            break
    if arms and arms[0][1]:
        _go_on(machine.execute(arms[0][0].body, scope))
        return
    if not arms:
        _go_on(machine.execute(rest, scope))
        return
    _branches(
        machine, [arm.body for arm, _ in arms] + ([] if arms[-1][1] else [rest]), arms[0][0].test, scope
    )


def _branches(
    machine: Machine, bodies: Sequence[Sequence[ast.stmt]], test: ast.AST, scope: NameScope
) -> None:
    """Alternatives, one of which runs. If one leaves the function, the following code is conditional too."""
    under = machine.place(test, scope)
    left = False

    def alternative(body: Sequence[ast.stmt]) -> Callable[[], bool]:
        def run() -> bool:
            nonlocal left
            earlier = len(machine.ends)
            alive = machine.execute(body, scope)
            stays = any(end.kind == "endless" for end in machine.ends[earlier:])
            left = left or stays or (not alive and _leaves(body))
            return alive

        return run

    _go_on(machine.split(*map(alternative, bodies), under=under))
    if left and isinstance(scope.frame, Frame):
        scope.frame.conditions.append(under)


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return | ast.Continue | ast.Break)


def _go_on(alive: bool) -> None:
    if not alive:
        raise PathEnded


def _return(machine: Machine, node: ast.Return, scope: NameScope) -> None:
    value = machine.evaluate(node.value, scope) if node.value is not None else NONE
    frame = scope.frame
    if isinstance(frame, Frame):
        frame.returns.append((value, machine.store.since(frame.depth)))
    raise PathEnded


def _raise(machine: Machine, node: ast.Raise, scope: NameScope) -> None:
    raised = machine.evaluate(node.exc, scope) if node.exc is not None else NONE
    name = raised.path.removesuffix("()") if isinstance(raised, External) else ""
    if name in {"SystemExit", "KeyboardInterrupt"}:
        given = raised.arguments if isinstance(raised, External) else Arguments()
        exits.leave(machine, given, fails=name == "KeyboardInterrupt")
    elif machine.guards:
        guard = machine.guards[-1]
        guard.raised.append(machine.store.since(guard.depth))
    else:
        machine.end("failure")
    raise PathEnded


def _break(machine: Machine, _: ast.Break, __: NameScope) -> None:
    if machine.loops:
        loop = machine.loops[-1]
        loop.breaks.append(machine.store.since(loop.depth))
    raise PathEnded


def _continue(machine: Machine, _: ast.Continue, __: NameScope) -> None:
    if machine.loops:
        loop = machine.loops[-1]
        loop.continues.append(machine.store.since(loop.depth))
    raise PathEnded


def _assert(machine: Machine, node: ast.Assert, scope: NameScope) -> None:
    """An assert may not run: `python -O` omits asserts."""
    machine.perhaps(lambda: machine.evaluate(node.test, scope), machine.place(node, scope))


def _match(machine: Machine, node: ast.Match, scope: NameScope) -> None:
    machine.evaluate(node.subject, scope)
    bodies = [case.body for case in node.cases]
    if not any(_irrefutable(case) for case in node.cases):
        bodies.append([])
    _branches(machine, bodies, node.subject, scope)


def _irrefutable(case: ast.match_case) -> bool:
    pattern = case.pattern
    return case.guard is None and isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _function(machine: Machine, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: NameScope) -> None:
    function = Function(node, scope, names.defaults(machine, node.args, scope))
    value = names.decorate(machine, function, node.decorator_list, scope)
    names.assign(machine, node.name, value, scope)


def _class(machine: Machine, node: ast.ClassDef, scope: NameScope) -> None:
    bases = tuple(machine.evaluate(base, scope) for base in node.bases)
    for keyword in node.keywords:
        machine.evaluate(keyword.value, scope)
    inner = NameScope("class", scope.module, scope, frame=scope.frame)
    cls = Class(node, inner, bases)
    inner.owner = cls
    alive = machine.execute(node.body, inner)
    value = names.decorate(machine, cls, node.decorator_list, scope)
    names.assign(machine, node.name, value, scope)
    _go_on(alive)


def _shared(_: Machine, node: ast.Global | ast.Nonlocal, scope: NameScope) -> None:
    chain = list(scope.chain())
    for name in node.names:
        if isinstance(node, ast.Global):
            scope.shared[name] = chain[-1]
        elif len(chain) > 1:
            scope.shared[name] = chain[1]


def _delete(machine: Machine, node: ast.Delete, scope: NameScope) -> None:
    for target in node.targets:
        if isinstance(target, ast.Name):
            names.assign(machine, target.id, UNBOUND, scope)


_STATEMENTS: dict[type[ast.stmt], Callable[[Machine, Any, NameScope], None]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.If: _if,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Assert: _assert,
    ast.Match: _match,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Global: _shared,
    ast.Nonlocal: _shared,
    ast.Delete: _delete,
    ast.Import: names.plain_import,
    ast.ImportFrom: names.import_from,
    ast.For: blocks.for_loop,
    ast.AsyncFor: blocks.for_loop,
    ast.While: blocks.while_loop,
    ast.Try: blocks.try_block,
    ast.TryStar: blocks.try_block,
    ast.With: blocks.with_block,
    ast.AsyncWith: blocks.with_block,
}
