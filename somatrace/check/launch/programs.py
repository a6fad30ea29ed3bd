"""Table of programs known to start Python code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from posixpath import basename

from somatrace.check.launch import servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.importers import IMPORTERS, importer
from somatrace.check.launch.lambdas import handler
from somatrace.check.launch.servers import ServerOptions
from somatrace.check.launch.uwsgi import uwsgi
from somatrace.check.launch.workers import (
    celery,
    chainlit,
    faust,
    functions_framework,
    locust,
    mcp,
    modal,
    rq,
    sanic,
    streamlit,
    worker,
)

PROGRAMS: dict[str, Callable[[ServerOptions, LaunchContext, LaunchOrigin], list[Launch]]] = {
    "uvicorn": servers.uvicorn,
    "hypercorn": servers.asgi,
    "granian": servers.asgi,
    "daphne": servers.asgi,
    "waitress-serve": servers.asgi,
    "gunicorn": servers.gunicorn,
    "flask": servers.flask,
    "fastapi": servers.fastapi,
    "celery": celery,
    "arq": lambda options, around, origin: worker(options, around, origin, "arq"),
    "dramatiq": worker,
    "faust": faust,
    "rq": rq,
    "streamlit": streamlit,
    "modal": modal,
    "locust": locust,
    "uwsgi": uwsgi,
    "awslambdaric": handler,
    "chainlit": chainlit,
    "sanic": sanic,
    "functions-framework": functions_framework,
    "fastmcp": mcp,
    "mcp": mcp,
    **{name: partial(importer, name) for name in IMPORTERS},
}
#: `python -m NAME` for programs whose module name differs.
MODULES = {
    "gunicorn.app.wsgiapp": "gunicorn",
    "waitress": "waitress-serve",
    "streamlit.web.cli": "streamlit",
    "celery.bin.celery": "celery",
    "huey.bin.huey_consumer": "huey_consumer",
    "procrastinate.cli": "procrastinate",
}
#: Programs that start Python code in ways the check does not follow.
SUSPECTS = frozenset([
    "watchfiles", "pm2", "circusd", "supervisorctl", "bentoml", "ray", "torchrun", "accelerate",
    "mlflow", "prefect", "dagster",
])  # fmt: skip
#: Servers that are not Python.
OTHERS = frozenset([
    "nginx", "node", "npm", "npx", "yarn", "pnpm", "bun", "deno", "caddy", "httpd", "apache2", "apache2ctl",
    "apachectl", "java", "php-fpm", "redis-server", "postgres", "mysqld", "mongod", "traefik", "haproxy",
    "envoy",
    "docker", "docker-compose", "docker-entrypoint.sh",
    "ollama", "cron", "crond", "s6-svscan", "runsvdir",
])  # fmt: skip


def serves(argv: tuple[str, ...]) -> bool:
    """Whether a command runs one of these programs, directly or with `python -m`."""
    name = basename(argv[0])
    if name in PROGRAMS:
        return True
    return (
        name.startswith("python")
        and len(argv) > 2
        and "-m" in argv[:-1]
        and argv[argv.index("-m") + 1] in PROGRAMS
    )
