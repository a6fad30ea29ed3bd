"""Functions that workers, bots and servers of other kinds call as they start.

- taskiq, https://taskiq-python.github.io/guide/state-and-deps.html: `WORKER_STARTUP`.
- huey, https://huey.readthedocs.io/en/latest/api.html#Huey.on_startup: every worker calls it before its first
  task. SAQ, https://saq-py.readthedocs.io: `startup` of the settings.
- dramatiq, https://dramatiq.io/reference.html#middleware: `after_process_boot` and `before_worker_boot`.
- Faust, https://faust-streaming.github.io/faust/userguide/application.html#signals;
  FastStream, https://faststream.ag2.ai/latest/getting-started/lifespan/hooks/: not `after_startup`.
- kopf, https://kopf.readthedocs.io/en/stable/startup/; aiogram, https://docs.aiogram.dev;
  python-telegram-bot, https://docs.python-telegram-bot.org: `post_init`; NiceGUI, Robyn and BlackSheep.
- uWSGI's `postfork`, https://uwsgi-docs.readthedocs.io/en/latest/PythonDecorators.html.
"""

from __future__ import annotations

import re
from typing import Final

from somatrace.check.run import hooks
from somatrace.check.run.machine import CodePlace, Machine
from somatrace.check.run.values import Arguments, Bound, External, Function, Instance, Items, Table, Value
from somatrace.check.run.waiting import awaited

#: Decorators and methods that register a function, by library; of any object of it.
_MEMBERS: Final = {
    "aiogram": "startup startup.register",
    "blacksheep": "on_start",
    "faststream": "on_startup",
    "faust": "on_worker_init.connect on_before_configured.connect on_configured.connect"
    " on_after_configured.connect",
    "huey": "on_startup",
    "kopf": "on.startup",
    "nicegui": "app.on_startup",
    "robyn": "startup_handler",
    "telegram": "post_init",
    "uwsgidecorators": "postfork",
}
_REGISTERED: Final = {
    library: re.compile(
        rf"{library}\.(?:[\w.()]+\.)?(?:{'|'.join(map(re.escape, members.split()))})(?:\(\))?"
    )
    for library, members in _MEMBERS.items()
}
#: What builds an application step by step: the steps are objects of their own, and return the next one.
_BUILDERS: Final = frozenset(["telegram"])
_EVENTS: Final = frozenset(["on_event", "add_event_handler"])
_WORKER_EVENTS: Final = frozenset(["taskiq.TaskiqEvents.WORKER_STARTUP"])
_BOOTS: Final = ("after_process_boot", "before_worker_boot")
#: An object that no program is started with.
_NOBODY: Final = -1


def wire(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> Value | None:
    """The result of a call that registers such a function; None for any other call."""
    _middleware(machine, value, arguments, place)
    library = value.path.partition(".")[0]
    member = value.path.removesuffix("()").rpartition(".")[2]
    if library in _REGISTERED and _REGISTERED[library].fullmatch(value.path):
        function = hooks.registered(arguments)
        if function is None:
            return value.made(arguments)
        built = library in _BUILDERS
        hooks.add(machine, "startup", function, 0 if built else hooks.owner_of(value))
        return value.made(arguments) if built else function
    if member in _EVENTS and "()" in value.path:
        return _event(machine, value, arguments)
    return None


def _event(machine: Machine, value: External, arguments: Arguments) -> Value | None:
    """`@broker.on_event(TaskiqEvents.WORKER_STARTUP)`, `broker.add_event_handler(…, f)`."""
    given = value.arguments if value.path.endswith("()") else arguments
    if not any(isinstance(one, External) and one.path in _WORKER_EVENTS for one in given.positional):
        return None
    function = hooks.registered(arguments)
    if function is None:
        return value.made(arguments)
    hooks.add(machine, "startup", function, hooks.owner_of(value))
    return function


def _middleware(machine: Machine, value: External, arguments: Arguments, place: CodePlace) -> None:
    """`broker.add_middleware(Tracing())`, `RedisBroker(middleware=[Tracing()])` of dramatiq."""
    if not value.path.startswith("dramatiq."):
        return
    if value.path.endswith("().add_middleware"):
        given, owner = arguments.positional, value.root().ident
    elif value.path.endswith("Broker"):
        listed = arguments.get("middleware")
        given = (machine.elements(listed.ident) or ()) if isinstance(listed, Items) else ()
        owner = _NOBODY
    else:
        return
    for one in map(machine.solid, given):
        for name in _BOOTS if isinstance(one, Instance) else ():
            hook = machine.attribute(one, name, place)
            if isinstance(hook, Bound) and isinstance(hook.function, Function):
                hooks.add(machine, "startup", hook, owner)


def run_settings(machine: Machine, settings: Value, place: CodePlace) -> None:
    """Call the startup functions in the settings of a worker of SAQ."""
    if not isinstance(settings, Table):
        return
    given = machine.solid(machine.store.get((settings.ident, "['startup']"), settings))
    for function in (machine.elements(given.ident) or ()) if isinstance(given, Items) else (given,):
        if isinstance(function, Function):
            awaited(machine, machine.call(function, Arguments(open=True), place), place)


def initialize(machine: Machine, model: Value, place: CodePlace) -> None:
    """Make a model of Triton and call its `initialize`, as Triton does when it loads the model."""
    made = machine.call(model, Arguments(), place)
    hook = machine.attribute(made, "initialize", place) if isinstance(made, Instance) else model
    if isinstance(hook, Bound) and isinstance(hook.function, Function):
        machine.call(hook, Arguments(open=True), place)
