"""Where the call of `init_tracing` stands, and the verdict that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

IMPORT = "from somatrace import init_tracing"
CALL = 'init_tracing("orders")'
_ENVIRONMENT = 'if os.environ.get("TRACING") == "1":\n    '


@dataclass(frozen=True)
class Place:
    """What a place adds to each part of a program. `{helper}` is the helper's module.

    `expected` is the code, or several where the place leaves it open; `file` says which file the finding
    names: the entrypoint, or the helper.
    """

    name: str
    expected: str
    first: str = ""
    imports: str = ""
    top: str = ""
    definitions: str = ""
    start: str = ""
    after: str = ""
    end: str = ""
    guard: str = ""
    before_yield: str = ""
    after_yield: str = ""
    startup: str = ""
    request: str = ""
    #: the text of the helper's module; empty without one
    helper: str = ""
    #: as script and function: the verdict where the `__main__` guard is false
    unguarded: str = ""
    needs_package: bool = False
    files: dict[str, str] = field(default_factory=dict)


#: Places that scripts and applications have in common: their modules are imported or run.
ANYWHERE = (
    Place("the first line", "ok", first=f"{IMPORT}\n{CALL}"),
    Place("the top level", "ok", imports=IMPORT, top=CALL),
    Place("an alias", "ok", imports="import somatrace as tracing", top=CALL.replace("init", "tracing.init")),
    Place("in a try", "ok", imports=IMPORT, top=f"try:\n    {CALL}\nfinally:\n    print('started')"),
    Place("an imported module", "ok", first="import {helper}", helper=f"{IMPORT}\n\n{CALL}\n"),
    Place(
        "a function of an imported module",
        "ok",
        imports="from {helper} import start",
        top="start()",
        helper=f"{IMPORT}\n\n\ndef start():\n    {CALL}\n",
    ),
    Place("a function", "ok", imports=IMPORT, definitions=f"def start():\n    {CALL}", end="start()"),
    Place(
        "a constructor",
        "ok",
        imports=IMPORT,
        definitions=f"class Settings:\n    def __init__(self):\n        {CALL}",
        end="settings = Settings()",
    ),
    Place("the package", "ok", needs_package=True, files={"__init__.py": f"{IMPORT}\n\n{CALL}\n"}),
    Place("absent", "ST001"),
    Place("only imported", "ST001", imports=IMPORT),
    Place("a function that nobody calls", "ST002", imports=IMPORT, definitions=f"def start():\n    {CALL}"),
    Place(
        "a function of an imported module that nobody calls",
        "ST002",
        imports="from {helper} import start",
        helper=f"{IMPORT}\n\n\ndef start():\n    {CALL}\n",
    ),
    Place("a lambda that nobody calls", "ST002", imports=IMPORT, top=f"start = lambda: {CALL}"),
    Place(
        "after a return",
        "ST002",
        imports=IMPORT,
        definitions=f"def start():\n    return\n    {CALL}",
        end="start()",
    ),
    Place("by the environment", "ST003", imports=f"import os\n{IMPORT}", top=_ENVIRONMENT + CALL),
    Place(
        "an exception's handler",
        "ST003",
        imports=f"import os\n{IMPORT}",
        top=f'try:\n    os.environ["TRACING"]\nexcept KeyError:\n    {CALL}',
    ),
    Place(
        "a thread",
        "ST004",
        imports=f"import threading\n{IMPORT}",
        definitions=f"def start():\n    {CALL}",
        end="threading.Thread(target=start).start()",
    ),
    Place(
        "after a client", "ST005", imports=f"import openai\n{IMPORT}", top=f"client = openai.OpenAI()\n{CALL}"
    ),
    Place("of another package", "ST006", imports="from logtools import init_tracing", top=CALL),
    Place(
        "of a function with the name",
        "ST006",
        definitions="def init_tracing(name):\n    print(name)",
        end=CALL,
    ),
    Place("twice", "ST007", imports=IMPORT, top=f"{CALL}\n{CALL}"),
)
#: Places of a script.
IN_SCRIPTS = (
    Place("main", "ok", imports=IMPORT, start=CALL),
    Place("the guard", "ok", imports=IMPORT, guard=CALL, unguarded="ST002"),
    Place(
        "a function that main imports",
        "ok",
        start="from {helper} import start\nstart()",
        helper=f"{IMPORT}\n\n\ndef start():\n    {CALL}\n",
    ),
    Place(
        "a context manager",
        "ok",
        imports=f"from contextlib import contextmanager\n{IMPORT}",
        definitions=f"@contextmanager\ndef started():\n    {CALL}\n    yield",
        start="with started():\n    print('started')",
    ),
    Place("after the work", "", imports=IMPORT, after=CALL),
    Place("after an exit", "ST002", imports=f"import sys\n{IMPORT}", start=f"sys.exit(0)\n{CALL}"),
    Place(
        "after an exit in a function",
        "ST002",
        imports=f"import sys\n{IMPORT}",
        definitions="def leave():\n    sys.exit(0)",
        start=f"leave()\n{CALL}",
    ),
    Place(
        "by main's argument",
        "ST003",
        imports=f"import sys\n{IMPORT}",
        start=f'if "--trace" in sys.argv:\n    {CALL}',
    ),
    Place("main and the top level", "ST007", imports=IMPORT, top=CALL, start=CALL),
)
#: Places of an application that a server imports.
IN_APPS = (
    Place("the lifespan", "ok", imports=IMPORT, before_yield=CALL),
    Place(
        "a function of the lifespan",
        "ok",
        imports="from {helper} import start",
        before_yield="start()",
        helper=f"{IMPORT}\n\n\ndef start():\n    {CALL}\n",
    ),
    Place("a startup event", "ok", imports=IMPORT, startup=CALL),
    Place("the guard of the application", "ST002", imports=IMPORT, guard=CALL),
    Place("the lifespan's end", "ST004", imports=IMPORT, after_yield=CALL),
    Place("a request", "ST004", imports=IMPORT, request=CALL),
    Place("the lifespan and the top level", "ST007", imports=IMPORT, top=CALL, before_yield=CALL),
    Place(
        "the lifespan, by the environment",
        "ST003",
        imports=f"import os\n{IMPORT}",
        before_yield=_ENVIRONMENT + CALL,
    ),
)
