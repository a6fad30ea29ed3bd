"""Functions that frameworks call at startup, and how a program registers them."""

from __future__ import annotations

from somatrace.check.run.cells import HOOKS, Hook
from somatrace.check.run.machine import CodePlace, Machine
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Arguments,
    Bound,
    Class,
    Command,
    Const,
    External,
    Function,
    Items,
    Value,
    fresh,
)

#: Decorators without arguments that register a startup function.
_STARTUP_MEMBERS = {
    "before_serving", "before_app_serving", "before_server_start", "main_process_start", "on_startup_event",
}  # fmt: skip
_STARTUP_EVENTS = {"startup", "before_server_start", "main_process_start"}
_WORKER_SIGNALS = {"worker_process_init", "worker_init", "celeryd_init", "celeryd_after_setup"}
_LIFESPAN_MEMBERS = {"while_serving", "while_app_serving"}
#: Flask calls these functions of a blueprint when it is registered.
_REGISTERED_MEMBERS = {"record", "record_once"}
_INCLUDES = {"include_router", "register_blueprint", "blueprint", "add_subapp", "register_blueprints"}
_LISTS = {"on_startup": "startup", "cleanup_ctx": "lifespan"}


def add(machine: Machine, kind: str, value: Value, owner: int) -> None:
    """Record a function that the framework will call."""
    held = machine.store.get(HOOKS)
    hook = Hook(kind, value, owner)
    if hook not in held:
        machine.store.set(HOOKS, (*held, hook))


def wire(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> Value | None:
    """The result of a call that registers a hook or command; None for any other call."""
    _mount(machine, value, arguments)
    _include(machine, value, arguments, place)
    for way in (_signal, _event, _member, _list, _click, _typer, _modal):
        result = way(machine, value, arguments, place)
        if result is not None:
            return result
    return None


def registered(arguments: Arguments) -> Value | None:
    """The function among the arguments of a call that registers one."""
    for value in arguments.positional:
        if isinstance(value, Function | Bound | Class) or type(value).__name__ in {"Partial", "Command"}:
            return value
    return None


def _signal(machine: Machine, value: External, arguments: Arguments, _: CodePlace) -> Value | None:
    """`@worker_process_init.connect`, with or without arguments."""
    parts = value.path.removesuffix("()").split(".")
    if len(parts) < 2 or parts[-1] != "connect" or parts[-2] not in _WORKER_SIGNALS:
        return None
    function = registered(arguments)
    if function is None:
        return None if value.path.endswith("()") else value.made(arguments)
    add(machine, "worker", function, 0)
    return function


def _event(machine: Machine, value: External, arguments: Arguments, _: CodePlace) -> Value | None:
    """`@app.on_event("startup")`, `app.add_event_handler("startup", f)`, `app.listener("...")`."""
    member = value.path.removesuffix("()").rpartition(".")[2]
    if (
        member not in {"on_event", "add_event_handler", "listener", "register_listener"}
        or "()" not in value.path
    ):
        return None
    function = registered(arguments)
    given = value.arguments if value.path.endswith("()") else arguments
    if function is None:
        return value.made(arguments)
    events = [one.value for one in given.positional if isinstance(one, Const)]
    if not any(event in _STARTUP_EVENTS for event in events):
        return None
    add(machine, "startup", function, owner_of(value))
    return function


def owner_of(value: External) -> int:
    """The number of the app that this method, or the method's result, belongs to."""
    found = value
    if found.path.endswith("()") and found.owner is not None:
        found = found.owner
    return found.root().ident


def _member(machine: Machine, value: External, arguments: Arguments, _: CodePlace) -> Value | None:
    member = value.path.removesuffix("()").rpartition(".")[2]
    kinds = {
        "startup": _STARTUP_MEMBERS,
        "lifespan": _LIFESPAN_MEMBERS,
        "registered": _REGISTERED_MEMBERS,
    }
    kind = next((kind for kind, members in kinds.items() if member in members), None)
    if kind is None or "()" not in value.path:
        return None
    function = registered(arguments)
    if function is None:
        return value.made(arguments)
    add(machine, kind, function, owner_of(value))
    return function


def _list(machine: Machine, value: External, arguments: Arguments, _: CodePlace) -> Value | None:
    """`app.on_startup.append(f)`."""
    parts = value.path.split(".")
    if len(parts) < 2 or parts[-1] != "append" or parts[-2] not in _LISTS:
        return None
    function = registered(arguments)
    if function is None:
        return None
    add(machine, _LISTS[parts[-2]], function, value.root().ident)
    return NONE


def _mount(machine: Machine, value: External, arguments: Arguments) -> None:
    """`app.mount("/v1", inner)`, `Mount("/v1", inner)`: an inner app's startup hooks do not run."""
    if not (value.path.endswith("().mount") or value.path == "starlette.routing.Mount"):
        return
    inner = arguments.get("app", 1)
    if not isinstance(inner, External):
        return
    made = inner.root()
    for name in ("lifespan", "on_startup", "startup"):
        hook = made.arguments.get(name)
        for function in machine.elements(hook.ident) or () if isinstance(hook, Items) else (hook,):
            if isinstance(function, Function):
                escaped = machine.ledger.escaped.get(id(function.node))
                if escaped is not None and escaped[1] == made.path.removesuffix("()"):
                    del machine.ledger.escaped[id(function.node)]


def _include(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> None:
    """`app.include_router(router)`, `app.register_blueprint(bp)`: the app takes over its hooks."""
    head, _, member = value.path.rpartition(".")
    if member not in _INCLUDES or not head.endswith(")"):
        return
    for given in arguments.positional:
        solid = machine.solid(given)
        for one in (machine.elements(solid.ident) or ()) if isinstance(solid, Items) else (solid,):
            inner = machine.solid(one)
            if not isinstance(inner, External) or not inner.ident:
                continue
            if member == "add_subapp":  # aiohttp calls the hooks that it has when the process starts
                machine.store.set((inner.ident, "router"), UNKNOWN)
            else:
                _take_over(machine, inner.root(), value.root().ident, place)


def _take_over(machine: Machine, inner: External, owner: int, place: CodePlace) -> None:
    for hook in machine.store.get(HOOKS):
        if hook.owner == inner.ident and hook.kind == "registered":
            machine.call(hook.value, Arguments(open=True), place)
        elif hook.owner == inner.ident:
            add(machine, hook.kind, hook.value, owner)
    starts = inner.arguments.get("on_startup")
    for function in (machine.elements(starts.ident) or ()) if isinstance(starts, Items) else ():
        add(machine, "startup", function, owner)
    lifespan = inner.arguments.get("lifespan")
    if lifespan is not None and isinstance(machine.solid(lifespan), Function):
        add(machine, "lifespan", machine.solid(lifespan), owner)


_MODAL_STARTS = frozenset(["modal.enter", "modal.asgi_app", "modal.wsgi_app", "modal.web_server"])


def _modal(machine: Machine, value: External, arguments: Arguments, _: CodePlace) -> Value | None:
    """Functions that a container calls once as it starts; those of web servers build the app they serve."""
    if value.path.removesuffix("()") not in _MODAL_STARTS:
        return None
    function = registered(arguments)
    if function is None:
        return value.made(arguments)
    add(machine, "startup", function, 0)
    return function


# -- command lines --------------------------------------------------------------------------------


def _click(machine: Machine, value: External, arguments: Arguments, __: CodePlace) -> Value | None:
    if value.path.removesuffix("()") not in {
        "click.command",
        "click.group",
        "asyncclick.command",
        "asyncclick.group",
    }:
        return None
    function = registered(arguments)
    if function is None:
        return value.made(arguments)
    made = Command(function, fresh(), "group" in value.path)
    if value.path.endswith("()"):
        named = value.arguments.get("name", 0)
        group = value.arguments.get("cls")
        machine.store.set((made.ident, "name"), named.value if isinstance(named, Const) else "")
        if isinstance(group, External) and group.path == "flask.cli.FlaskGroup":
            machine.store.set((made.ident, "flask"), External(f"{group.path}()", fresh(), value.arguments))
    if isinstance(function, Function) and not machine.store.get((made.ident, "name")):
        machine.store.set((made.ident, "name"), function.name)
    return made


def on_command(machine: Machine, me: Command, path: str, arguments: Arguments) -> Value:
    """`@cli.command()`, `cli.add_command(f)` on a click group."""
    name = path.rpartition(".")[2]
    function = registered(arguments)
    if name in {"command", "group"}:
        # the call that creates the decorator; the function is registered when the decorator is applied
        if function is None:
            return Bound(External(f"command.{name}"), me)
        made = Command(function, fresh(), name == "group")
        _register(machine, me.ident, made)
        return made
    if name == "add_command" and function is not None:
        _register(machine, me.ident, function)
    return UNKNOWN if name != "add_command" else NONE


def _register(machine: Machine, ident: int, command: Value) -> None:
    held = machine.store.get((ident, "commands"), ())
    machine.store.set((ident, "commands"), (*held, command) if isinstance(held, tuple) else (command,))


def _typer(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> Value | None:
    """`app = typer.Typer()`: `@app.command()`, `@app.callback()`, `app.add_typer(sub)`, and `app()`."""
    if not value.path.startswith(("typer.Typer()", "cyclopts.App()")):
        return None
    root = value.root() if not value.path.endswith("()") or value.owner is None else value
    while root.path not in {"typer.Typer()", "cyclopts.App()"} and root.owner is not None:
        root = root.owner
    if value.path in {"typer.Typer()", "cyclopts.App()"}:
        return run_typer(machine, root, place)
    member = value.path.removesuffix("()").rpartition(".")[2]
    function = registered(arguments)
    if member in {"command", "callback", "default"}:
        if function is None:
            return value.made(arguments)
        _register_typer(machine, root.ident, member, function)
        return function
    if member == "add_typer" and arguments.positional:
        _register(machine, root.ident, arguments.positional[0])
        return NONE
    return None


def _register_typer(machine: Machine, ident: int, member: str, function: Value) -> None:
    if member == "callback":
        machine.store.set((ident, "callback"), function)
    else:
        _register(machine, ident, function)


def run_typer(machine: Machine, root: External, place: CodePlace) -> Value:
    """The callback runs for every command, then one of the commands."""
    from somatrace.check.run import calls

    callback = machine.store.get((root.ident, "callback"))
    if isinstance(callback, Value):
        machine.call(callback, Arguments(open=True), place)
    commands = machine.store.get((root.ident, "commands"), ())
    return calls.choose(machine, commands if isinstance(commands, tuple) else (), place)
