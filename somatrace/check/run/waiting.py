"""Interpret waiting: for coroutines, tasks, threads and executors, which may serve or never return."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from somatrace.check.run import blocking, serving
from somatrace.check.run.cells import TASKS
from somatrace.check.run.machine import CodePlace, Machine, PathEnded
from somatrace.check.run.values import (
    Arguments,
    Deferred,
    External,
    Instance,
    Items,
    NameScope,
    Value,
    options,
    truth,
)

#: Awaiting them awaits what they are given.
_TOGETHER = frozenset([
    "asyncio.gather", "asyncio.wait", "asyncio.wait_for", "asyncio.shield", "asyncio.create_task",
    "asyncio.ensure_future",
])  # fmt: skip
_TASK_METHODS = frozenset(["create_task", "start_soon"])
_ON_THREAD = frozenset([
    "asyncio.to_thread", "anyio.to_thread.run_sync", "trio.to_thread.run_sync",
    "starlette.concurrency.run_in_threadpool", "fastapi.concurrency.run_in_threadpool",
])  # fmt: skip
_JOINS = frozenset([
    "threading.Thread().join", "multiprocessing.Process().join", "multiprocessing.context.Process().join",
])  # fmt: skip
#: Context managers that wait at their end for the tasks that were started in them.
_GROUPS = frozenset([
    "asyncio.TaskGroup()", "anyio.create_task_group()", "trio.open_nursery()",
    "concurrent.futures.ThreadPoolExecutor()", "concurrent.futures.ProcessPoolExecutor()",
])  # fmt: skip


def awaited(machine: Machine, value: Value, place: CodePlace) -> Value:
    """The result of a coroutine or of a library's call, or the value itself."""
    for option in options(value):
        if isinstance(option, Deferred) and option.kind == "coroutine":
            return machine.run_deferred(option, place)
    if isinstance(value, External) and value.path.endswith("()") and value.owner is not None:
        _await_call(machine, value, value.owner, place)
    return value


def _await_call(machine: Machine, value: External, callee: External, place: CodePlace) -> None:
    path, arguments = callee.path, value.arguments
    if blocking.blocks_awaited(path):
        serving.serve(machine, callee, arguments, place)
    elif path in _TOGETHER or path.rpartition(".")[2] in _TASK_METHODS:
        together(machine, _flat(machine, arguments.positional), place)
    elif path in _ON_THREAD and arguments.positional:
        on_thread(machine, arguments.positional[0], arguments.positional[1:], place)
    elif path.endswith(".run_in_executor") and len(arguments.positional) > 1:
        on_thread(machine, arguments.positional[1], arguments.positional[2:], place)
    else:
        run_tasks(machine, place)


def is_future(value: External) -> bool:
    """Whether a new future is awaited, which nothing else knows: it waits until the process ends."""
    return value.path == "asyncio.Future()" or value.path.endswith(".create_future()")


def _flat(machine: Machine, values: Iterable[Value]) -> list[Value]:
    found: list[Value] = []
    for value in values:
        found += (machine.elements(value.ident) or ()) if isinstance(value, Items) else (value,)
    return found


def together(machine: Machine, values: Iterable[Value], place: CodePlace) -> None:
    """Await several values that run at the same time. If one of them never returns, neither does this."""
    alive = True
    for value in values:
        alive = _taken_turns(machine, value, place) and alive
    if not alive:
        machine.end("endless")
        raise PathEnded


def _taken_turns(machine: Machine, value: Value, place: CodePlace) -> bool:
    """Await one of several values, and return whether it ends. An endless one lets the others run."""
    earlier = len(machine.ends)
    try:
        awaited(machine, value, place)
    except PathEnded:
        ends = machine.ends[earlier:]
        if not ends or any(end.kind != "endless" for end in ends):
            raise
        del machine.ends[earlier:]
        machine.recall(min(end.calls[0] for end in ends), max(end.calls[1] for end in ends))
        return False
    return True


def blocks(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> bool:
    """Whether a library's call serves, or waits for a thread that was run. Remembers tasks it starts."""
    path = value.path
    if blocking.blocks(path) and not (path == "threading.Event().wait" and arguments.all()):
        if path.endswith(".run_forever"):
            run_tasks(machine, place)
        serving.serve(machine, value, arguments, place)
        return True
    member = path.rpartition(".")[2]
    if member in {"create_task", "ensure_future"} and arguments.positional:
        machine.store.set(TASKS, (*machine.store.get(TASKS), arguments.positional[0]))
    start_in_group(machine, value, arguments)
    return join(machine, value, arguments, place)


def run_tasks(machine: Machine, place: CodePlace) -> None:
    """Let the tasks run that were started before: the program waits for something."""
    tasks = machine.store.get(TASKS)
    if tasks:
        machine.store.set(TASKS, ())
        for task in tasks:
            _taken_turns(machine, task, place)


def on_thread(machine: Machine, function: Value, given: tuple[Value, ...], place: CodePlace) -> None:
    """Call a function on another thread and wait for it. What it serves blocks, but its calls are late."""
    machine.threads += 1
    try:
        awaited(machine, machine.call(function, Arguments(given), place), place)
    finally:
        machine.threads -= 1


def join(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> bool:
    """Whether the call waits for a thread, a process or a future without a time limit; if so, run it."""
    if arguments.all():
        return False
    made = value.root()
    if value.path in _JOINS:
        instance = machine.store.get((made.ident, "instance"))
        if isinstance(instance, Instance):
            on_thread(machine, machine.attribute(instance, "run", place), (), place)
            return True
        target = made.arguments.get("target", 1)
        given = made.arguments.get("args", 2)
        if target is not None:
            elements = machine.elements(given.ident) if isinstance(given, Items) else None
            on_thread(machine, target, elements or (), place)
        return True
    if value.path.endswith(".submit().result") and made.arguments.positional:
        on_thread(machine, made.arguments.positional[0], made.arguments.positional[1:], place)
        return True
    return False


def is_group(value: Value) -> bool:
    """Whether leaving this context manager waits for the tasks that were started in it."""
    return isinstance(value, External) and value.path in _GROUPS


def start_in_group(machine: Machine, value: External, arguments: Arguments) -> None:
    """Remember what a group is given to run."""
    root = value.root()
    member = value.path.rpartition(".")[2]
    if root.path in _GROUPS and member in {*_TASK_METHODS, "submit", "map"} and arguments.positional:
        key = (root.ident, "tasks")
        held = machine.store.get(key)
        machine.store.set(
            key, (*held, (member, arguments)) if isinstance(held, tuple) else ((member, arguments),)
        )


def leave_group(machine: Machine, group: External, place: CodePlace) -> None:
    """Wait for the tasks of a group."""
    held = machine.store.get((group.ident, "tasks"))
    values: list[Value] = []
    for member, arguments in held if isinstance(held, tuple) else ():
        first, rest = arguments.positional[0], arguments.positional[1:]
        if member == "map":
            rest = tuple(_flat(machine, rest)[:1])
        if member == "create_task":
            values.append(first)
        elif member == "start_soon":
            values.append(machine.call(first, Arguments(rest), place))
        else:
            on_thread(machine, first, rest, place)
    together(machine, values, place)


def condition(machine: Machine, test: ast.expr, scope: NameScope) -> tuple[bool | None, External | None]:
    """The truth of a loop's condition, and what tells the loop to stop: `while not stopped.is_set()`."""
    negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    inner = test.operand if isinstance(test, ast.UnaryOp) and negated else test
    value = machine.solid(machine.evaluate(inner, scope))
    if negated and isinstance(value, External) and blocking.is_told_to_stop(value.path):
        return None, value
    known = truth(value)
    return (not known if negated and known is not None else known), None
