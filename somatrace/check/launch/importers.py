"""Programs that import or run one module of the tree, which their command line names.

- taskiq, https://taskiq-python.github.io/guide/cli.html; huey, https://huey.readthedocs.io/en/latest/consumer.html;
  SAQ, https://saq-py.readthedocs.io; Procrastinate, https://procrastinate.readthedocs.io: workers.
- FastStream, https://faststream.ag2.ai/latest/getting-started/cli/; nameko, https://nameko.readthedocs.io;
  kopf, https://kopf.readthedocs.io/en/stable/cli/; Ray Serve, https://docs.ray.io/en/latest/serve/;
  Litestar, https://docs.litestar.dev/latest/usage/cli.html.
- Shiny, Solara, Mesop and mod_wsgi-express import a file; Gradio, Panel, Bokeh, marimo and Robyn run one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from somatrace.check.launch import servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin


class Importer(NamedTuple):
    """How a program is given its module: after one of its `commands`, in one of its `options`, as
    `module.attribute` if `dotted`; and whether it `runs` it as a script.
    """

    commands: frozenset[str] = frozenset()
    options: tuple[str, ...] = ()
    dotted: bool = False
    role: str = "server"
    runs: bool = False
    #: the variable, and the files, that name the module otherwise
    variable: str = ""
    files: tuple[str, ...] = ()


_RUN = frozenset(["run"])
IMPORTERS: Final = {
    "taskiq": Importer(frozenset(["worker", "scheduler"]), role="worker"),
    "huey_consumer": Importer(dotted=True, role="worker"),
    "huey_consumer.py": Importer(dotted=True, role="worker"),
    "saq": Importer(dotted=True, role="saq"),
    "procrastinate": Importer(
        frozenset(["worker"]), ("-a", "--app"), dotted=True, variable="PROCRASTINATE_APP"
    ),
    "faststream": Importer(_RUN),
    "nameko": Importer(_RUN),
    "kopf": Importer(_RUN, ("-m", "--module")),
    "serve": Importer(_RUN),
    "litestar": Importer(_RUN, ("--app",), variable="LITESTAR_APP", files=("app.py", "application.py")),
    "shiny": Importer(_RUN, files=("app.py",)),
    "solara": Importer(_RUN),
    "mesop": Importer(),
    "mod_wsgi-express": Importer(frozenset(["start-server"])),
    "gradio": Importer(runs=True),
    "panel": Importer(frozenset(["serve"]), runs=True),
    "bokeh": Importer(frozenset(["serve"]), runs=True),
    "marimo": Importer(_RUN, runs=True),
    "robyn": Importer(runs=True),
}


def importer(
    name: str, options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin
) -> list[Launch]:
    """The process of one of these programs."""
    row = IMPORTERS[name]
    rest = list(options.rest)
    if row.commands:
        if not row.commands & {*rest}:
            return []
        rest = [word for word in rest if word not in row.commands]
    elif not options.rest and not options.named:
        return []
    swallowed = [value for value in options.named.values() if value.endswith(".py") or ":" in value]
    known = [around.variables.get(row.variable, ""), *(file for file in row.files if around.file(file))]
    target = options.get(*row.options) or next(iter([*rest, *swallowed, *known]), "")
    file = target.partition(":")[0]
    if not target or file.endswith((".yaml", ".yml", ".ipynb", ".R")):
        return [servers.undecidable(origin, target or name, f"it is unknown which module `{name}` imports")]
    if file.endswith(".py") and "$" not in file:
        path = around.file(file)
        if path is None:
            return [servers.undecidable(origin, target, f"`{file}` is not in the tree")]
        if row.runs:
            return servers.script(
                path, around, origin, role="streamlit" if "serve" in row.commands else "script"
            )
    if row.dotted and ":" not in target and "." in target:
        module, _, attribute = target.rpartition(".")
        target = f"{module}:{attribute}"
    role = "beat" if "scheduler" in options.rest else row.role
    return servers.imported(target, around, origin, role=role)
