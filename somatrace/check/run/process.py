"""Follow one process from its start until it begins serving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from somatrace.check.project.file_tree import FileTree
from somatrace.check.project.source import Sources
from somatrace.check.run import flask_commands, serving, worker_hooks
from somatrace.check.run.cells import HOOKS, SERVED
from somatrace.check.run.interpreter import Interpreter
from somatrace.check.run.loader import FoundModule, Loader, SearchRoot
from somatrace.check.run.machine import CodePlace, EventLog, InitCall, PathEnded, StepLimitReached
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Arguments,
    Class,
    External,
    Function,
    Items,
    Value,
    options,
)
from somatrace.check.run.waiting import awaited

#: Hooks of a gunicorn configuration, in the order they run before a worker's first request.
_MASTER = ("on_starting", "when_ready")
_WORKER = ("post_fork", "post_worker_init")


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """How a process starts. `kind`: `script` runs `path` as `__main__`, `module` runs module `name` so,
    `import` imports it and serves `attribute`, `function` calls `attribute` of it. `server` is the program
    that imports it, where it finds the application in a way of its own; `command` is the command that the
    program is given. `also` names modules that are imported next.
    """

    kind: str
    name: str = ""
    path: str = ""
    attribute: str = ""
    role: str = "server"
    factory: bool = False
    settings: str = ""
    server: str = ""
    command: str = ""
    also: tuple[str, ...] = ()
    roots: tuple[SearchRoot, ...] = ()


@dataclass(slots=True)
class RunOutcome:
    """The result of a run: how often tracing certainly and possibly started before serving began."""

    ledger: EventLog
    certain: int
    possible: int
    late: tuple[InitCall, ...]
    found: FoundModule | None
    exhausted: bool = False
    supervises: bool = False
    #: whether the process serves, or works for ever without a user
    works: bool = False


def run(start: ProcessStart, tree: FileTree, sources: Sources, wrappers: tuple[str, ...]) -> RunOutcome:
    """Follow one process."""
    loader = Loader(tree, sources, start.roots)
    machine = Interpreter(loader, sources, wrappers)
    machine.command = start.command
    found = _target(start, loader, tree)
    exhausted = finished = False
    app: Value = UNKNOWN
    if found is not None:
        try:
            app = _start(machine, start, found)
            finished = True
        except PathEnded:
            pass
        except (StepLimitReached, RecursionError):
            exhausted = True
    low, high = machine.outcome(finished=finished)
    if exhausted:
        low = high = _certain_before_the_limit(machine)
    elif high == 0 or start.kind == "function":  # what a console script may call decides whether it works
        _late(machine, start, app)
    late = tuple(call for call in machine.ledger.inits if call.served)
    machine.ledger.escaped.clear()
    supervises = any(respawn.certain for respawn in machine.ledger.respawned) and low == 0
    stays = machine.ledger.serves or any(end.kind == "endless" for end in machine.ends)
    works = bool(machine.ledger.respawned) or (stays and not machine.ledger.asks)
    return RunOutcome(machine.ledger, low, high, late, found, exhausted, supervises, works)


def _certain_before_the_limit(machine: Interpreter) -> int:
    """How many calls were certain before a start-up that is too large to follow."""
    calls = [call for call in machine.ledger.inits if not call.served and not call.conditions]
    return len({call.place for call in calls})


def _target(start: ProcessStart, loader: Loader, tree: FileTree) -> FoundModule | None:
    if start.kind == "script":
        return FoundModule("__main__", start.path) if tree.is_file(start.path) else None
    found = loader.find(start.name)
    if found is not None and start.kind == "module" and found.is_package:
        return loader.find(f"{start.name}.__main__")
    return found if found is not None and found.path else None


def _start(machine: Interpreter, start: ProcessStart, found: FoundModule) -> Value:
    place = CodePlace(found.path, 1)
    if start.settings:
        _gunicorn(machine, start.settings, _MASTER, place)
        _gunicorn(machine, start.settings, _WORKER[:1], place)
    if start.kind == "script":
        machine.load(FoundModule("__main__", found.path), None, "__main__")
        return UNKNOWN
    if start.kind == "module":
        for parent in _parents(found.name):
            machine.module(parent, None)
        machine.load(found, None, "__main__")
        return UNKNOWN
    module = machine.module(start.name, None)
    app: Value = module
    for part in start.attribute.split(".") if start.attribute else ():
        app = machine.solid(machine.attribute(app, part, place))
    for name in start.also:
        machine.module(name, place)
    if start.kind == "function":
        awaited(machine, machine.call(app, Arguments(open=True), place), place)
        return UNKNOWN
    app = _made(machine, start, module, app, place)
    _serve(machine, start, app, place)
    return app


def _made(machine: Interpreter, start: ProcessStart, module: Value, app: Value, place: CodePlace) -> Value:
    """The application that the server takes from the module or makes with its factory."""
    if start.server == "flask" and not start.attribute:
        app = flask_commands.best_app(machine, module, place)
    if start.factory:
        return machine.call(app, Arguments(), place)
    return serving.made_without_arguments(machine, app, place) if start.server else app


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _gunicorn(machine: Interpreter, path: str, hooks: tuple[str, ...], place: CodePlace) -> None:
    module = machine.load(FoundModule("__gunicorn__", path), None, "__gunicorn__")
    for name in hooks:
        hook = machine.attribute(module, name, place)
        if isinstance(hook, Function):
            machine.call(hook, Arguments(open=True), place)


def _serve(machine: Interpreter, start: ProcessStart, app: Value, place: CodePlace) -> None:
    if start.settings:
        _gunicorn(machine, start.settings, _WORKER[1:], place)
    serve = _ROLES.get(start.role)
    if serve is not None:
        serve(machine, app, place)
    elif start.role in {"beat", "lambda", "streamlit"}:
        machine.store.set(SERVED, value=True)
    else:
        serving.start(machine, app, place)


def _celery(machine: Interpreter, app: Value, place: CodePlace) -> None:
    """A Celery worker imports the app's included modules, then fires its signals."""
    for option in options(app):
        if isinstance(option, External):
            included = option.root().arguments.get("include")
            for name in (machine.elements(included.ident) or ()) if isinstance(included, Items) else ():
                value = getattr(name, "value", None)
                if isinstance(value, str):
                    machine.module(value, place)
    for hook in machine.store.get(HOOKS):
        if hook.kind == "worker":
            act = _calling(machine, hook.value, place)
            machine.perhaps(act, place) if not hook.certain else act()
    machine.store.set(SERVED, value=True)


def _calling(machine: Interpreter, value: Value, place: CodePlace) -> Callable[[], object]:
    return lambda: machine.call(value, Arguments(open=True), place)


def _arq(machine: Interpreter, app: Value, place: CodePlace) -> None:
    """Arq calls `on_startup` of the settings class."""
    if isinstance(app, Class):
        hook = machine.attribute(app, "on_startup", place)
        if hook not in (UNKNOWN, NONE):
            awaited(machine, machine.call(hook, Arguments(open=True), place), place)
    machine.store.set(SERVED, value=True)


def _saq(machine: Interpreter, app: Value, place: CodePlace) -> None:
    """A worker of SAQ calls the `startup` of its settings."""
    worker_hooks.run_settings(machine, app, place)
    machine.store.set(SERVED, value=True)


def _triton(machine: Interpreter, app: Value, place: CodePlace) -> None:
    """Triton makes the model and initializes it."""
    worker_hooks.initialize(machine, app, place)
    machine.store.set(SERVED, value=True)


def _command(machine: Interpreter, _: Value, place: CodePlace) -> None:
    """A command of the application itself: `flask consume`."""
    flask_commands.run_command(machine, place)


_ROLES: dict[str, Callable[[Interpreter, Value, CodePlace], None]] = {
    "celery": _celery,
    "arq": _arq,
    "command": _command,
    "saq": _saq,
    "triton": _triton,
}


def _late(machine: Interpreter, start: ProcessStart, app: Value) -> None:
    """If tracing was not started, check whether code that runs later starts it."""
    machine.store.set(SERVED, value=True)
    nowhere = CodePlace("", 1)
    waiting = [(value, place) for value, _, place in machine.ledger.escaped.values()]
    if start.role in {"lambda", "server"} and isinstance(app, Function):
        waiting.append((app, nowhere))
    if start.role in {"arq", "triton"} and isinstance(app, Class):
        waiting.extend(
            (value, nowhere)
            for _, value in machine.store.cells_of(app.scope.ident)
            if isinstance(value, Function)
        )
    for value, place in waiting:
        machine.store.begin()
        try:
            result = machine.call(value, Arguments(open=True), place)
            machine.run_deferred(result, place, lambda _: None)
        except (PathEnded, StepLimitReached, RecursionError):
            pass
        machine.store.rollback()
