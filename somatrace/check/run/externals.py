"""Interpret library calls that run or register a function, serve, or end the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from somatrace.check.project import model_clients
from somatrace.check.run import exits, flask_commands, hooks, patching, waiting, worker_hooks
from somatrace.check.run.cells import CALLS, SERVED
from somatrace.check.run.machine import CodePlace, Machine, SeenEvent, stop_there
from somatrace.check.run.names import set_attribute
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
    Partial,
    Value,
    is_init_tracing,
)
from somatrace.check.run.waiting import awaited

_RUNS_COROUTINE = {
    "asyncio.run", "uvloop.run", "asyncio.get_event_loop().run_until_complete", "asyncio.Runner().run",
    "asyncio.new_event_loop().run_until_complete", "uvloop.new_event_loop().run_until_complete",
    "asyncio.get_event_loop_policy().get_event_loop().run_until_complete",
}  # fmt: skip
_RUNS_FUNCTION = {
    "anyio.run",
    "trio.run",
    "curio.run",
    "typer.run",
    "fire.Fire",
    "absl.app.run",
    "asgiref.sync.async_to_sync()",
}
_SAME = {
    "staticmethod", "classmethod", "property", "functools.cache", "functools.lru_cache",
    "functools.cached_property", "functools.wraps()", "functools.lru_cache()", "dataclasses.dataclass",
    "dataclasses.dataclass()", "typing.cast", "abc.abstractmethod", "typing.final", "typing.override",
    "typing.no_type_check", "flask.cli.with_appcontext", "click.pass_context", "click.pass_obj",
    "asgiref.sync.async_to_sync", "asgiref.sync.sync_to_async",
}  # fmt: skip
_ROUTER_HOOKS = {"lifespan", "on_startup"}
_LONGEST_RANGE = 4
_ASKS = {"input", "click.prompt", "typer.prompt"}
_DRAINS = {"list", "tuple", "set", "sorted", "any", "all", "sum", "dict", "collections.deque"}


def call(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> Value:
    """Call something outside the tree."""
    path = value.path
    if exits.is_exit(path):
        exits.exit_process(machine, path, arguments)
    handler = _EXACT.get(path)
    if handler is not None:
        return handler(machine, arguments, place)
    if path in _SAME:
        return arguments.positional[0] if arguments.positional else value.made(arguments)
    if path in _RUNS_COROUTINE or path.endswith(".run_until_complete"):
        return _run_coroutine(machine, arguments, place)
    if path in _RUNS_FUNCTION:
        return run_function(machine, arguments, place)
    if note_model(machine, value, arguments, place):
        return value.made(arguments)
    if waiting.blocks(machine, value, arguments, place) or flask_commands.run_group(machine, value, place):
        return NONE
    wired = flask_commands.add_command(machine, value, arguments)
    for way in (worker_hooks, hooks):
        wired = way.wire(machine, value, arguments, place) if wired is None else wired
    if wired is not None:
        return wired
    return _unknown(machine, value, arguments, place)


def _unknown(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> Value:
    """A call whose effects are not known. A decorator's result is taken for the function itself."""
    path = value.path
    first = arguments.positional[0] if arguments.positional else None
    if patching.is_patch(value) and isinstance(first, Function):
        return patching.decorate(machine, value, first)
    if path.endswith("().start") and value.owner is not None and patching.is_patch(value.owner):
        patching.apply(machine, value.owner, place)
    if path in _ASKS or path.endswith((".prompt", ".Prompt.ask")):
        machine.ledger.asks = True
    escape(machine, arguments, path, place)
    if (
        path.endswith("()")
        and len(arguments.positional) == 1
        and isinstance(arguments.positional[0], Function | Class)
    ):
        return arguments.positional[0]
    return value.made(arguments)


def note_model(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> bool:
    """Whether this builds or calls a model client; recorded if tracing may not have started yet."""
    first = arguments.get("service_name", 0)
    what = first.value if isinstance(first, Const) else None
    if not model_clients.is_client(value.path, what):
        return False
    if machine.store.get(CALLS)[0] == 0 and not machine.store.get(SERVED):
        machine.ledger.models.append(SeenEvent(place, value.path.replace("()", ""), tuple(machine.chain)))
    return True


def escape(machine: Machine, arguments: Arguments, path: str, place: CodePlace) -> None:
    """Functions passed to a library, which may call them at any later time."""
    unused = _ROUTER_HOOKS if path.endswith("Router") else ()  # an app that includes the router calls them
    waiting = [*arguments.positional, *(value for name, value in arguments.named if name not in unused)]
    opened: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Bound | Partial):
            waiting.append(value.function)
        elif isinstance(value, Items):
            if value.ident in opened:  # a list may hold itself
                continue
            opened.add(value.ident)
            waiting.extend(machine.elements(value.ident) or ())
        elif isinstance(value, Deferred):
            machine.ledger.escaped.setdefault(id(value.function.node), (value.function, path, place))
        elif isinstance(value, Function):
            machine.ledger.escaped.setdefault(id(value.node), (value, path, place))
        elif is_init_tracing(value):
            machine.ledger.escaped.setdefault(id(value), (value, path, place))
        elif isinstance(value, Class | Instance):
            _escape_methods(machine, value if isinstance(value, Class) else value.cls, path, place)


def _escape_methods(machine: Machine, cls: Class, path: str, place: CodePlace) -> None:
    for name, value in machine.store.cells_of(cls.scope.ident):
        if isinstance(value, Function) and name != "__init__":
            machine.ledger.escaped.setdefault(id(value.node), (value, path, place))


def run_function(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    """`anyio.run(main)`, `typer.run(main)`: call the function and await its coroutine."""
    if not arguments.positional:
        return UNKNOWN
    given = Arguments(arguments.positional[1:], (), open=True)
    return awaited(machine, machine.call(arguments.positional[0], given, place), place)


def _run_coroutine(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    for value in arguments.positional[:1]:
        return awaited(machine, value, place)
    return UNKNOWN


def _manager(_: Machine, arguments: Arguments, __: CodePlace) -> Value:
    for value in arguments.positional[:1]:
        if isinstance(value, Function):
            return replace(value, manager=True)
    return UNKNOWN


def _partial(_: Machine, arguments: Arguments, __: CodePlace) -> Value:
    if not arguments.positional:
        return UNKNOWN
    return Partial(
        arguments.positional[0], Arguments(arguments.positional[1:], arguments.named, arguments.open)
    )


def _setattr(machine: Machine, arguments: Arguments, _: CodePlace) -> Value:
    if len(arguments.positional) == 3 and isinstance(arguments.positional[1], Const):
        set_attribute(
            machine,
            machine.solid(arguments.positional[0]),
            str(arguments.positional[1].value),
            arguments.positional[2],
        )
    return NONE


def _getattr(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    if len(arguments.positional) == 2 and isinstance(arguments.positional[1], Const):
        return machine.attribute(
            machine.solid(arguments.positional[0]), str(arguments.positional[1].value), place
        )
    return UNKNOWN


def _next(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    """`next(generator)`: the generator runs to its first yield and stays there."""
    for value in arguments.positional[:1]:
        if isinstance(value, Deferred) and value.kind == "generator":
            machine.run_deferred(value, place, stop_there)
    return UNKNOWN


def _enter_context(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    """Enter a context manager as `with` does; it exits at an unspecified time."""
    for value in arguments.positional[:1]:
        if isinstance(value, Deferred):
            machine.run_deferred(value, place, stop_there)
        elif isinstance(value, Instance):
            return machine.call(machine.attribute(value, "__enter__", place), Arguments(), place)
    return UNKNOWN


def _enter_async_context(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    for value in arguments.positional[:1]:
        if isinstance(value, Instance):
            entered = machine.call(machine.attribute(value, "__aenter__", place), Arguments(), place)
            return awaited(machine, entered, place)
    return _enter_context(machine, arguments, place)


def _drain(machine: Machine, arguments: Arguments, place: CodePlace) -> Value:
    for value in arguments.positional[:1]:
        if isinstance(value, Deferred) and value.kind == "generator":
            machine.run_deferred(value, place, lambda _: None)
        elif isinstance(value, Items):
            return value
        elif isinstance(value, External) and value.path == "map()":
            _mapped(machine, value.arguments, place)
    return Items(machine.items(None))


def _range(machine: Machine, arguments: Arguments, _: CodePlace) -> Value:
    """A short range of known numbers; a longer one counts as unknown."""
    consts = [value.value for value in arguments.positional if isinstance(value, Const)]
    numbers = [value for value in consts if isinstance(value, int)]
    if len(numbers) != len(arguments.positional):
        return Items(machine.items(None))
    try:
        values = range(*numbers)
    except (TypeError, ValueError):
        return UNKNOWN
    short = len(values) <= _LONGEST_RANGE
    return Items(machine.items(tuple(Const(number) for number in values) if short else None))


def _map(_: Machine, arguments: Arguments, __: CodePlace) -> Value:
    """`map` calls nothing until it is iterated."""
    return External("map").made(arguments)


def _mapped(machine: Machine, arguments: Arguments, place: CodePlace) -> None:
    if len(arguments.positional) == 2 and isinstance(arguments.positional[1], Items):
        for element in machine.elements(arguments.positional[1].ident) or ():
            machine.call(arguments.positional[0], Arguments((element,)), place)


def method(machine: Machine, value: Bound, arguments: Arguments, place: CodePlace) -> Value:
    """Call a method of a list, a click command or a constant."""
    path = value.function.path if isinstance(value.function, External) else ""
    if isinstance(value.me, Items):
        return _grow(machine, value.me, path, arguments)
    if isinstance(value.me, Command):
        return hooks.on_command(machine, value.me, path, arguments)
    escape(machine, arguments, path, place)
    return External(path).made(arguments)


def _grow(machine: Machine, items: Items, path: str, arguments: Arguments) -> Value:
    held = machine.elements(items.ident)
    if held is not None and arguments.positional:
        last = arguments.positional[-1]
        more = machine.elements(last.ident) if path == "list.extend" and isinstance(last, Items) else (last,)
        machine.hold(items.ident, None if more is None else held + more)
    return NONE


_EXACT: dict[str, Callable[[Machine, Arguments, CodePlace], Value]] = {
    "contextlib.contextmanager": _manager,
    "contextlib.asynccontextmanager": _manager,
    "functools.partial": _partial,
    "setattr": _setattr,
    "getattr": _getattr,
    "next": _next,
    "anext": _next,
    "map": _map,
    "range": _range,
    "contextlib.ExitStack().enter_context": _enter_context,
    "contextlib.AsyncExitStack().enter_context": _enter_context,
    "contextlib.AsyncExitStack().enter_async_context": _enter_async_context,
    **dict.fromkeys(_DRAINS, _drain),
}
