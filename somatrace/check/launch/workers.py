"""Worker and runner command lines: Celery, arq, dramatiq, Streamlit, Modal and others."""

from __future__ import annotations

from somatrace.check.launch import servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin


def celery(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """A worker imports its included modules and fires its signals; beat and flower fire none."""
    target = options.get("-A", "--app")
    command = next((word for word in options.rest if word in {"worker", "beat", "flower", "multi"}), "")
    if target is None or not command:
        return []
    module, _, attribute = target.partition(":")
    if not attribute and not around.tree.is_file(module):
        module, attribute = _celery_module(module, around)
    return servers.imported(
        f"{module}:{attribute}", around, origin, role="celery" if command in {"worker", "multi"} else "beat"
    )


def _celery_module(module: str, around: LaunchContext) -> tuple[str, str]:
    """`-A pkg` resolves to `pkg.celery`, `-A mod.app` to the attribute."""
    path = module.replace(".", "/")
    if around.file(f"{path}/celery.py") and not _mentions(around, f"{path}/__init__.py", "Celery("):
        return f"{module}.celery", "app"
    if around.file(f"{path}.py") or around.file(f"{path}/__init__.py") or "." not in module:
        return module, "app"
    head, _, last = module.rpartition(".")
    return head, last


def _mentions(around: LaunchContext, path: str, text: str) -> bool:
    found = around.file(path)
    return found is not None and text in (around.tree.text(found) or "")


def worker(
    options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin, role: str = "worker"
) -> list[Launch]:
    """Dramatiq and arq: the first argument names the module."""
    target = next(iter(options.rest), None)
    if target is None:
        return []
    if role == "arq" and ":" not in target:
        module, _, attribute = target.rpartition(".")
        target = f"{module}:{attribute}"
    return servers.imported(target, around, origin, role=role)


def faust(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`faust -A app worker`."""
    target = options.get("-A", "--app")
    return servers.imported(target, around, origin) if target and "worker" in options.rest else []


def rq(options: servers.ServerOptions, _: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """An rq worker imports nothing from the tree before a job runs."""
    if not options.rest or options.rest[0] not in {"worker", "worker-pool"}:
        return []
    return [
        servers.undecidable(
            origin,
            "rq worker",
            "rq imports the code of a job only when the job runs; start the worker from Python",
        )
    ]


def streamlit(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`streamlit run FILE`."""
    if len(options.rest) < 2 or options.rest[0] != "run":
        return []
    path = around.file(options.rest[1])
    if path is None:
        return [servers.undecidable(origin, options.rest[1], f"`{options.rest[1]}` is not in the tree")]
    return servers.script(path, around, origin, role="streamlit")


def modal(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`modal deploy FILE`: containers import it."""
    if len(options.rest) < 2 or options.rest[0] not in {"deploy", "serve"}:
        return []
    target = options.rest[-1].removeprefix("-m")
    return servers.imported(target.partition("::")[0], around, origin)


def chainlit(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`chainlit run FILE`: its server imports the file (https://docs.chainlit.io)."""
    return _imported_file(options, around, origin, {"run"})


def mcp(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`fastmcp run FILE:server` and `mcp run FILE` (https://gofastmcp.com/deployment/running-server)."""
    return _imported_file(options, around, origin, {"run", "dev"})


def _imported_file(
    options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin, commands: set[str]
) -> list[Launch]:
    if len(options.rest) < 2 or options.rest[0] not in commands:
        return []
    target = options.rest[1]
    file = target.partition(":")[0]
    if file.endswith(".py") and around.file(file) is None and "$" not in file:
        return [servers.undecidable(origin, target, f"`{file}` is not in the tree")]
    return servers.imported(target, around, origin) if file.endswith(".py") else []


def sanic(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`sanic module:app` or `sanic module.app` (https://sanic.dev/en/guide/running/running.html)."""
    target = next(iter(options.rest), "")
    if ":" not in target and "." in target and not target.endswith(".py"):
        module, _, attribute = target.rpartition(".")
        target = f"{module}:{attribute}"
    return servers.imported(target, around, origin, factory="--factory" in options.named) if target else []


def functions_framework(
    options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin
) -> list[Launch]:
    """`functions-framework --target=F` imports main.py, or the `--source`
    (https://github.com/GoogleCloudPlatform/functions-framework-python).
    """
    target = options.get("--target") or around.variables.get("FUNCTION_TARGET") or ""
    source = options.get("--source") or "main.py"
    if around.file(source) is None:
        return [servers.undecidable(origin, source, f"`{source}` is not in the tree")]
    return servers.imported(f"{source}:{target}", around, origin, role="lambda")


def locust(options: servers.ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`locust -f FILE`."""
    target = options.get("-f", "--locustfile") or "locustfile.py"
    return (
        servers.imported(target, around, origin)
        if around.file(target)
        else [servers.undecidable(origin, target, f"`{target}` is not in the tree")]
    )
