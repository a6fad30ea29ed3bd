"""Servers with workers of their own, whose requests answer with the id of their span."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.service import Service
from tests.support.programs import otlp_env
from tests.support.waiting import HANG

_APP: Final = """
import os
from opentelemetry.trace import get_current_span
from somatrace import init_tracing, span

init_tracing(os.environ["SERVICE"])

def answer():
    with span("request"):
        span_id = get_current_span().get_span_context().span_id
    return f"{span_id:016x} {os.getpid()}".encode()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer()]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        body = answer()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""
_GUNICORN: Final = (
    "gunicorn",
    "--bind",
    "unix:{address}",
    "--workers",
    "2",
    "--no-control-socket",
    "--graceful-timeout",
    "30",
    "--timeout",
    "120",
)
_UVICORN: Final = ("uvicorn", "--uds", "{address}", "--lifespan", "off", "application:asgi")
GUNICORN: Final = "gunicorn, preloaded"
RELOADED: Final = "uvicorn, reloaded"
#: The modules that are run, with their arguments.
SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "gunicorn": (*_GUNICORN, "application:app"),
    GUNICORN: (*_GUNICORN, "--preload", "application:app"),
    "gunicorn, threads": (*_GUNICORN, "--preload", "--worker-class", "gthread", "application:app"),
    "gunicorn, asyncio": (*_GUNICORN, "--worker-class", "uvicorn.workers.UvicornWorker", "application:asgi"),
    "uvicorn": (*_UVICORN, "--workers", "2"),
    RELOADED: (*_UVICORN, "--reload"),
    "gunicorn, gevent": (*_GUNICORN, "--worker-class", "gevent", "application:app"),
    "gunicorn, gevent, preloaded": (*_GUNICORN, "--preload", "--worker-class", "gevent", "application:app"),
}


class Requests:
    """Makes requests, and keeps the process ids of the workers that answered."""

    def __init__(self, address: Path, log: Path) -> None:
        self.pids: set[int] = set()
        self._address = address
        self._log = log

    def __call__(self) -> str:
        """Make a request as soon as a worker answers; return the id of its span."""
        until = time.monotonic() + HANG
        while True:
            try:
                span, pid = self._get().split()
            except (OSError, ValueError, http.client.HTTPException):
                assert time.monotonic() < until, self._log.read_text()
                time.sleep(0.05)
            else:
                self.pids.add(int(pid))
                return span

    def _get(self) -> str:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(HANG)
            connection.sock.connect(str(self._address))
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@contextmanager
def workers(service: Service, server: str = GUNICORN) -> Iterator[tuple[Requests, subprocess.Popen[bytes]]]:
    """Run a server in a process group of its own, which ends with the block."""
    place = service.place
    (place / "application.py").write_text(_APP)
    address, log = place / "socket", place / "log"
    address.unlink(missing_ok=True)
    command = [sys.executable, "-m", *(part.format(address=address) for part in SERVERS[server])]
    env = {
        **os.environ,
        **otlp_env(service.url, SOMATRACE_DATA_DIR=str(service.data), SERVICE=service.name),
        "PYTHONPATH": os.pathsep.join([str(place), *sys.path]),
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=place, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield Requests(address, log), process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
