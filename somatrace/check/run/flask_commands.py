"""Interpret the ways in which Flask's command line finds an application and a command."""

from __future__ import annotations

from somatrace.check.run import hooks, serving
from somatrace.check.run.cells import HOOKS
from somatrace.check.run.machine import CodePlace, Machine
from somatrace.check.run.values import (
    NONE,
    UNKNOWN,
    Arguments,
    Command,
    Const,
    External,
    Function,
    LocalModule,
    Value,
)

_GROUPS = frozenset(["flask.cli.FlaskGroup()", "flask_script.Manager()"])
_STARTS = frozenset(["flask.cli.FlaskGroup().main", "flask_script.Manager().run"])
_COMMANDS = (".cli.command()", "flask.cli.FlaskGroup().command()", "flask.cli.AppGroup().command()")


def best_app(machine: Machine, module: Value, place: CodePlace) -> Value:
    """The application of a module that is named alone: its `app`, its only one, or what its factory makes."""
    if not isinstance(module, LocalModule):
        return module
    names = dict(machine.store.cells_of(machine.scopes[module.name].ident))
    for name in ("app", "application"):
        if isinstance(names.get(name), Value):
            return machine.attribute(module, name, place)
    for value in names.values():
        if isinstance(value, External) and value.path == "flask.Flask()":
            return value
    for name in ("create_app", "make_app"):
        factory = machine.solid(machine.attribute(module, name, place))
        if isinstance(factory, Function):
            return factory
    return module


def add_command(machine: Machine, value: External, arguments: Arguments) -> Value | None:
    """`@app.cli.command("consume")`: register the function, and return it; None for any other call."""
    if value.path.endswith(".cli.add_command") and arguments.positional:
        return _add_made(machine, arguments.positional[0])
    if not value.path.endswith(_COMMANDS) or not arguments.positional:
        return None
    function = arguments.positional[0]
    if not isinstance(function, Function):
        return None
    named = value.arguments.positional[0] if value.arguments.positional else Const(function.name)
    name = str(named.value) if isinstance(named, Const) else function.name
    hooks.add(machine, f"command {_plain(name)}", function, 0)
    return function


def _add_made(machine: Machine, command: Value) -> Value | None:
    """`app.cli.add_command(consume)`, for a click command."""
    if not isinstance(command, Command):
        return None
    name = machine.store.get((command.ident, "name"))
    hooks.add(machine, f"command {_plain(str(name))}", command, 0)
    return NONE


def run_group(machine: Machine, group: External, place: CodePlace) -> bool:
    """Whether the call starts a group of commands; if so, run the command that the program is given."""
    if group.path in _STARTS:
        group = group.root()
    elif group.path not in _GROUPS:
        return False
    factory = group.arguments.get("create_app") or group.arguments.get("app", 0)
    app = factory if factory is not None else UNKNOWN
    if isinstance(app, Function):
        app = machine.call(app, Arguments(open=True), place)
    if not run_command(machine, place):
        serving.start(machine, app, place)
    return True


def run_command(machine: Machine, place: CodePlace) -> bool:
    """Call the function of the command that the program is given, and return whether there is one."""
    wanted = {f"command {_plain(word)}" for word in machine.command.split()}
    found = [hook for hook in machine.store.get(HOOKS) if hook.kind in wanted]
    for hook in found:
        machine.call(hook.value, Arguments(open=True), place)
    return bool(found)


def _plain(name: str) -> str:
    return name.replace("-", "_")
