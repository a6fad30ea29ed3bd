"""Interpret the start of serving: startup hooks run, and subsequent calls are late."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from somatrace.check.run.cells import HOOKS, SERVED, Hook
from somatrace.check.run.machine import CodePlace, Machine, Respawn
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Arguments,
    Bound,
    Const,
    Deferred,
    Either,
    External,
    Function,
    Instance,
    Items,
    LocalModule,
    Partial,
    Value,
    options,
    truth,
)


def serve(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> Value:
    """Start serving: the program passes control to a server."""
    app = next(iter(arguments.positional), None) or arguments.get("app") or arguments.get("target")
    given = arguments
    if value.path.startswith("uvicorn.Server()") and value.owner is not None:
        config = next(iter(value.root().arguments.positional), None) or value.root().arguments.get("config")
        if isinstance(config, External):
            given = config.arguments
            app = next(iter(given.positional), None) or given.get("app")
    elif value.owner is not None and "()" in value.path:
        app = value.root()
    name = app.value if isinstance(app, Const) else None
    apart = _runs_apart(given) if isinstance(name, str) and ":" in name else False
    if isinstance(name, str) and apart is not False:
        machine.ledger.respawned.append(Respawn(name, place, apart is True))
    if isinstance(name, str) and ":" in name and not apart:
        app = imported_app(machine, name, place, factory=truth(given.get("factory") or NONE) is True)
    if app is not None and value.path.startswith("uvicorn."):
        app = made_without_arguments(machine, machine.solid(app), place)
    _hooks_of_class(machine, value, place)
    start(machine, app if app is not None else UNKNOWN, place)
    return NONE


def _hooks_of_class(machine: Machine, value: External, place: CodePlace) -> None:
    """Discord calls `setup_hook` of a client of the project's own class before it connects."""
    instance = machine.store.get((value.root().ident, "instance"))
    if isinstance(instance, Instance):
        hook = machine.attribute(instance, "setup_hook", place)
        if isinstance(hook, Bound) and isinstance(hook.function, Function):
            _begin(machine, hook, UNKNOWN, place)


def made_without_arguments(machine: Machine, app: Value, place: CodePlace) -> Value:
    """The application; uvicorn and flask call what they are given if it is a function without parameters."""
    function = app.function if isinstance(app, Partial) else app
    given = app.arguments if isinstance(app, Partial) else Arguments()
    if isinstance(function, Function):
        spec = function.node.args
        parameters = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        needed = set(parameters[len(given.positional) : len(parameters) - len(spec.defaults)])
        keywords = zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
        needed |= {argument.arg for argument, default in keywords if default is None}
        if needed <= {name for name, _ in given.named}:
            return machine.call(app, Arguments(), place)
    return app


def _runs_apart(arguments: Arguments) -> bool | None:
    """Whether uvicorn imports the app in child processes; None if that is known only at run time."""
    reload = truth(arguments.get("reload") or NONE)
    workers = {_is_several(option) for option in options(arguments.get("workers") or NONE)}
    if reload is True or workers == {True}:
        return True
    return False if reload is False and workers == {False} else None


def _is_several(workers: Value) -> bool | None:
    if not isinstance(workers, Const):
        return None
    return isinstance(workers.value, int) and workers.value > 1


def imported_app(machine: Machine, name: str, place: CodePlace, *, factory: bool) -> Value:
    """`module:attribute`, as servers import it; a factory is called."""
    module_name, _, attribute = name.partition(":")
    module = machine.module(module_name, place)
    called = factory or attribute.endswith(")")
    value: Value = module
    for part in attribute.partition("(")[0].split(".") if attribute else ():
        value = machine.solid(machine.attribute(value, part, place))
    return machine.call(value, Arguments(), place) if called else value


def start(machine: Machine, app: Value, place: CodePlace) -> None:
    """Run the served app's startup hooks; everything after them is late."""
    machine.ledger.serves = True
    machine.ledger.served.update(dict.fromkeys(_kind(made) for made in _made(machine, app)))
    threads, machine.threads = machine.threads, 0  # hooks are in time on the thread that serves, too
    try:
        _run_hooks(machine, app, place)
    finally:
        machine.threads = threads
    machine.store.set(SERVED, value=True)


def _run_hooks(machine: Machine, app: Value, place: CodePlace) -> None:
    owners = set(_owners(machine, app))
    for made in _made(machine, app):
        _run_arguments(machine, made, place)
    for hook in machine.store.get(HOOKS):
        if hook.kind in {"startup", "lifespan"} and (
            not owners or hook.owner in owners or not hook.owner or _routed(machine, hook)
        ):
            _run_hook(machine, hook, app, place)


def _routed(machine: Machine, hook: Hook) -> bool:
    """Whether a hook belongs to an included router; such hooks run with the app."""
    return machine.store.get((hook.owner, "router")) is not None


def _owners(machine: Machine, app: Value) -> Iterator[int]:
    for made in _made(machine, app):
        yield made.ident


def _kind(app: External | Instance) -> str:
    """The class of an application."""
    return app.path if isinstance(app, External) else app.cls.node.name


def _made(machine: Machine, app: Value, depth: int = 0) -> Iterator[External | Instance]:
    """The app itself and the apps it wraps: `Middleware(app)`, or one of several."""
    if depth > 4:
        return
    app = machine.solid(app)
    if isinstance(app, Either):
        for option in app.options:
            yield from _made(machine, option, depth + 1)
    elif isinstance(app, Instance):
        yield app
    elif isinstance(app, External) and app.ident:
        yield app.root()
        for inner in app.root().arguments.all():
            yield from _made(machine, inner, depth + 1)


def _run_hook(machine: Machine, hook: Hook, app: Value, place: CodePlace) -> None:
    was = machine.store.get(SERVED)
    if hook.certain:
        _begin(machine, hook.value, app, place)
    else:
        machine.perhaps(lambda: _begin(machine, hook.value, app, place), place)
    if hook.kind == "lifespan":
        machine.store.set(SERVED, was)


def _begin(machine: Machine, hook: Value, app: Value, place: CodePlace) -> None:
    """Call a hook. Code after a lifespan's yield is not part of the startup."""
    wanted: Arguments = Arguments((app,)) if _takes_one(hook) else Arguments(open=True)
    value = machine.call(hook, wanted, place)
    if isinstance(value, Deferred):
        machine.run_deferred(value, place, _until_yield(machine) if value.kind != "coroutine" else None)
    elif isinstance(value, Instance):
        entered = machine.call(machine.attribute(value, "__aenter__", place), Arguments(), place)
        machine.run_deferred(entered, place)


def _until_yield(machine: Machine) -> Callable[[Value], None]:
    def resume(_: Value) -> None:
        machine.store.set(SERVED, value=True)

    return resume


def _takes_one(hook: Value) -> bool:
    return isinstance(hook, Function) and len(hook.node.args.posonlyargs) + len(hook.node.args.args) == 1


def _run_arguments(machine: Machine, made: External | Instance, place: CodePlace) -> None:
    """`FastAPI(lifespan=f)`, `Starlette(on_startup=[f])`, `app.router.lifespan_context = f`."""
    arguments = (
        made.arguments
        if isinstance(made, External)
        else machine.store.get((made.ident, "arguments"), Arguments())
    )
    if not isinstance(arguments, Arguments):
        return
    starts = arguments.get("on_startup") or arguments.get("startup")
    for hook in (machine.elements(starts.ident) or ()) if isinstance(starts, Items) else (starts,):
        if isinstance(hook, Function | Bound):
            _begin(machine, hook, made, place)
    lifespan = arguments.get("lifespan")
    if isinstance(made, External):
        set_later = machine.store.get((made.ident, f"{made.path}.router.lifespan_context"))
        lifespan = set_later if isinstance(set_later, Value) else lifespan
    if lifespan is None:
        return
    lifespan = machine.solid(lifespan)
    for hook in (machine.elements(lifespan.ident) or ()) if isinstance(lifespan, Items) else (lifespan,):
        if not isinstance(hook, Const | LocalModule | External):
            was = machine.store.get(SERVED)
            _begin(machine, hook, made, place)
            machine.store.set(SERVED, was)
