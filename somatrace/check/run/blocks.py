"""Interpret loops, try and with: blocks whose body runs once, never, repeatedly, or in part."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from somatrace.check.run import blocking, names, patching, serving, waiting
from somatrace.check.run.cells import Changes
from somatrace.check.run.machine import CodePlace, Frame, Machine, PathEnded, RunningLoop, RunningTry
from somatrace.check.run.values import (
    UNKNOWN,
    Arguments,
    Const,
    Deferred,
    External,
    Instance,
    Items,
    NameScope,
    Value,
)

_MOST_ROUNDS = 12
_ENDLESS = {"itertools.count()", "itertools.cycle()", "itertools.repeat()"}
_CATCH_EXITS = {"SystemExit", "BaseException"}
_CATCH_IMPORTS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def for_loop(machine: Machine, node: ast.For | ast.AsyncFor, scope: NameScope) -> None:
    """A loop over known elements runs once for each; a loop over run-time data may not run."""
    over = machine.solid(machine.evaluate(node.iter, scope))
    if isinstance(over, Deferred) and over.kind == "generator":
        machine.run_deferred(
            over, machine.place(node, scope), lambda value: _one_round(machine, node, value, scope)
        )
        _else(machine, node.orelse, scope)
        return
    if isinstance(over, External) and over.path in _ENDLESS:
        twice = [lambda: names.bind(machine, node.target, UNKNOWN, scope)] * 2
        _loop(machine, node, twice, scope, endless=True, certain=True)
        return
    if isinstance(over, External) and blocking.waits_for_messages(over.path):
        serving.start(machine, over, machine.place(node, scope))
    elements = machine.elements(over.ident) if isinstance(over, Items) else None
    if elements is None:
        rounds: list[Callable[[], None]] = [lambda: names.bind(machine, node.target, UNKNOWN, scope)]
        _loop(machine, node, rounds, scope, endless=False, certain=False)
        return

    def bound(value: Value) -> Callable[[], None]:
        return lambda: names.bind(machine, node.target, value, scope)

    _loop(
        machine, node, [bound(value) for value in elements[:_MOST_ROUNDS]], scope, endless=False, certain=True
    )


def while_loop(machine: Machine, node: ast.While, scope: NameScope) -> None:
    """`while True` runs at least twice unless it breaks, and nothing follows it; other loops may not run.
    Code after a loop that runs until it is told to stop counts as late.
    """
    known, told = waiting.condition(machine, node.test, scope)
    if told is not None:
        _loop(machine, node, [lambda: None] * 2, scope, endless=False, certain=True)
        serving.start(machine, told, machine.place(node, scope))
        return
    if known is False:
        _else(machine, node.orelse, scope)
        return
    endless = known is True and isinstance(node.test, ast.Constant | ast.Name)
    rounds: list[Callable[[], None]] = [lambda: None] * (2 if endless else 1)
    _loop(machine, node, rounds, scope, endless=endless, certain=endless)


def _one_round(machine: Machine, node: ast.For | ast.AsyncFor, value: Value, scope: NameScope) -> None:
    names.bind(machine, node.target, value, scope)
    _loop(machine, node, [lambda: None], scope, endless=False, certain=True)


def _loop(
    machine: Machine,
    node: ast.For | ast.AsyncFor | ast.While,
    rounds: Sequence[Callable[[], None]],
    scope: NameScope,
    *,
    endless: bool,
    certain: bool,
) -> None:
    loop = RunningLoop(machine.store.begin())
    machine.loops.append(loop)
    ends: list[Changes] = []
    ways_out = _ways_out(machine, scope)
    if not certain:
        machine.conditions.append(machine.place(node, scope))
        ends.append({})
    alive = True
    for start in rounds:
        if not alive:
            break
        start()
        alive = _round(machine, node.body, scope, loop)
    if not certain:
        machine.conditions.pop()
    machine.loops.pop()
    if alive and not endless:
        ends.append(machine.store.since(loop.depth))
    elif alive and not loop.breaks and _ways_out(machine, scope) == ways_out:
        machine.end("endless")
    machine.store.rollback()
    if ends:
        machine.store.begin()
        machine.store.merge(ends)
        if machine.execute(node.orelse, scope):
            loop.breaks.append(machine.store.rollback())
        else:
            machine.store.rollback()
    if not loop.breaks:
        raise PathEnded
    machine.store.merge(loop.breaks)


def _ways_out(machine: Machine, scope: NameScope) -> int:
    """How many returns and caught exceptions were met so far: a loop that adds one can be left."""
    returns = len(scope.frame.returns) if isinstance(scope.frame, Frame) else 0
    return returns + sum(len(guard.raised) for guard in machine.guards)


def _round(machine: Machine, body: Sequence[ast.stmt], scope: NameScope, loop: RunningLoop) -> bool:
    """One pass through the body. A `continue` joins the end of the body."""
    alive = machine.execute(body, scope)
    ends = loop.continues
    loop.continues = []
    if not ends:
        return alive
    if alive:
        ends.append(machine.store.since(loop.depth))
    machine.store.rollback()
    machine.store.begin()
    machine.store.merge(ends)
    return True


def _else(machine: Machine, body: Sequence[ast.stmt], scope: NameScope) -> None:
    if not machine.execute(body, scope):
        raise PathEnded


# -- try ------------------------------------------------------------------------------------------


def try_block(machine: Machine, node: ast.Try | ast.TryStar, scope: NameScope) -> None:
    """A handler starts where the body raised: at its explicit raises, where importing somatrace failed,
    and at its end. A handler around the call thus does not make it conditional; one around the import does.
    """
    alive = _handled(machine, node, scope)
    if node.finalbody and not machine.execute(node.finalbody, scope):
        raise PathEnded
    if not alive:
        raise PathEnded


def _handled(machine: Machine, node: ast.Try | ast.TryStar, scope: NameScope) -> bool:
    if not node.handlers:
        return machine.execute(node.body, scope) and machine.execute(node.orelse, scope)
    imports = any(_catches(handler.type, _CATCH_IMPORTS) for handler in node.handlers)
    exits = any(_catches(handler.type, _CATCH_EXITS) for handler in node.handlers)
    guard = RunningTry(machine.store.begin(), imports, exits)
    machine.guards.append(guard)
    ended = machine.execute(node.body, scope)
    machine.guards.pop()
    end = machine.store.rollback()
    ways = []
    if ended:

        def normally() -> bool:
            machine.store.merge([end])
            return machine.execute(node.orelse, scope)

        ways.append(normally)
    for handler in node.handlers:
        starts = [*guard.raised, *([end] if ended else [])]
        if _catches(handler.type, _CATCH_IMPORTS):
            starts += guard.import_failed
        ways.append(_handler(machine, handler, scope, starts, perhaps=ended))
    return machine.split(*ways)


def _handler(
    machine: Machine, node: ast.ExceptHandler, scope: NameScope, starts: list[Changes], *, perhaps: bool
) -> Callable[[], bool]:
    """Run one except clause from the states in which the body may have raised."""

    def run() -> bool:
        if not starts:
            return False
        machine.store.merge(starts)
        if node.name:
            names.assign(machine, node.name, UNKNOWN, scope)
        if perhaps:
            machine.conditions.append(machine.place(node, scope))
        alive = machine.execute(node.body, scope)
        if perhaps:
            machine.conditions.pop()
        return alive

    return run


def _catches(caught: ast.expr | None, wanted: set[str]) -> bool:
    if caught is None:
        return True
    types = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(type_, ast.Name) and type_.id in wanted for type_ in types)


# -- with -----------------------------------------------------------------------------------------


def with_block(machine: Machine, node: ast.With | ast.AsyncWith, scope: NameScope) -> None:
    """Context managers in the tree run around the body; library ones are treated as transparent."""
    _enter(machine, node, 0, scope)


def _enter(machine: Machine, node: ast.With | ast.AsyncWith, number: int, scope: NameScope) -> None:
    if number == len(node.items):
        if not machine.execute(node.body, scope):
            raise PathEnded
        return
    item = node.items[number]
    place = machine.place(item.context_expr, scope)
    manager = machine.solid(machine.evaluate(item.context_expr, scope))

    def body(value: Value) -> None:
        if item.optional_vars is not None:
            names.bind(machine, item.optional_vars, value, scope)
        _enter(machine, node, number + 1, scope)

    if isinstance(manager, Deferred):
        machine.run_deferred(manager, place, body)
    elif isinstance(manager, Instance):
        _entered(machine, manager, body, node)
    elif isinstance(manager, External) and manager.path == "contextlib.suppress()":
        _suppressed(machine, manager, lambda: body(UNKNOWN))
    elif isinstance(manager, External):
        _entered_external(machine, manager, place, body)
    else:
        body(manager)


def _entered_external(
    machine: Machine, manager: External, place: CodePlace, body: Callable[[Value], None]
) -> None:
    if manager.owner is not None and blocking.serves_inside(manager.owner.path):
        serving.start(machine, manager, place)
    restore = patching.apply(machine, manager, place) if patching.is_patch(manager) else None
    body(manager)
    if restore is not None:
        restore()
    if waiting.is_group(manager):
        waiting.leave_group(machine, manager, place)


def _entered(
    machine: Machine, manager: Instance, body: Callable[[Value], None], node: ast.With | ast.AsyncWith
) -> None:
    prefix = "__a" if isinstance(node, ast.AsyncWith) else "__"
    place = machine.place(node, manager.cls.scope)
    enter = machine.attribute(manager, f"{prefix}enter__", place)
    value = manager if isinstance(enter, External) else machine.call(enter, Arguments(), place)
    if isinstance(value, Deferred) and value.kind == "coroutine":
        value = machine.run_deferred(value, place)
    body(value)
    gone = machine.call(
        machine.attribute(manager, f"{prefix}exit__", place), Arguments((Const(None),) * 3), place
    )
    if isinstance(gone, Deferred) and gone.kind == "coroutine":
        machine.run_deferred(gone, place)


def _suppressed(machine: Machine, manager: External, body: Callable[[], None]) -> None:
    caught = [value.path for value in manager.arguments.all() if isinstance(value, External)]
    guard = RunningTry(
        machine.store.begin(),
        any(path in _CATCH_IMPORTS for path in caught),
        any(path in _CATCH_EXITS for path in caught),
    )
    machine.guards.append(guard)
    ends = guard.raised
    try:
        body()
        ends = [machine.store.since(guard.depth), *guard.raised, *guard.import_failed]
    except PathEnded:
        ends = [*guard.raised, *guard.import_failed]
    machine.guards.pop()
    machine.store.rollback()
    if not ends:
        raise PathEnded
    machine.store.merge(ends)
