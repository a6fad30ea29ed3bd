"""Flask's command line: where it finds an application, and commands of the project."""

import ast
import importlib
import inspect
import os
import sys


class AppGroup:
    def __init__(self):
        self.commands = {}

    def command(self, name=None):
        def register(function):
            self.commands[name or function.__name__.replace("_", "-")] = function
            return function

        return register


class FlaskGroup(AppGroup):
    def __init__(self, create_app):
        super().__init__()
        self.create_app = create_app

    def __call__(self):
        start(self.create_app(), sys.argv[1], self.commands)


def start(app, command, commands):
    if command == "run":
        app.run()
    else:
        {**app.cli.commands, **commands}[command]()


def main(arguments):
    given = list(arguments)
    target = os.environ.get("FLASK_APP")
    if "--app" in given:
        at = given.index("--app")
        target = given[at + 1]
        del given[at : at + 2]
    start(found(target), given[0], {})


def found(target):
    """The application, in the order of flask's own `locate_app`."""
    name, _, attribute = target.partition(":")
    module = importlib.import_module(name.removesuffix(".py"))
    if attribute:
        call = ast.parse(attribute, mode="eval").body
        value = getattr(module, getattr(call, "id", "") or call.func.id)
        given = [ast.literal_eval(one) for one in getattr(call, "args", [])]
        return value(*given) if inspect.isfunction(value) else value
    from flask import Flask

    for name in ("app", "application"):
        if isinstance(getattr(module, name, None), Flask):
            return getattr(module, name)
    apps = [value for value in vars(module).values() if isinstance(value, Flask)]
    return apps[0] if apps else getattr(module, "create_app", None)()
