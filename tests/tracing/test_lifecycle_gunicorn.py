"""gunicorn, as services run it: every worker's spans arrive, whatever was loaded before the fork."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.otlp_server import otlp_server
from tests.support.programs import PATIENT, otlp_env
from tests.support.waiting import HANG, wait_until

APP = """
    import os
    from somatrace import init_tracing, span
    if os.environ["INIT"] == "app":
        init_tracing("web")

    def app(environ, start_response):
        with span("request", pid=os.getpid()):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(os.getpid()).encode()]

    async def asgi(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        with span("request", pid=os.getpid()):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
CONFIG = """
    import os
    if os.environ["INIT"] == "config":
        from somatrace import init_tracing
        init_tracing("web")

    def post_fork(server, worker):
        if os.environ["INIT"] == "post_fork":
            from somatrace import init_tracing
            init_tracing("web")

    def post_worker_init(worker):
        worker.log.info("worker ready")
"""


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


@contextmanager
def gunicorn(directory: Path, server, init: str, *options: str):
    """Run gunicorn; yields it and a function that makes a request and returns the worker's process id."""
    (directory / "application.py").write_text(PATIENT + textwrap.dedent(APP))
    (directory / "gunicorn.conf.py").write_text(PATIENT + textwrap.dedent(CONFIG))
    # a Unix socket needs no free port
    address = directory / "socket"
    command = [sys.executable, "-W", "error::DeprecationWarning:somatrace", "-m", "gunicorn"]
    command += ["--bind", f"unix:{address}", "--workers", "2", "--no-control-socket"]
    # a worker misses a stop signal sent before it is up: gunicorn then waits this long
    command += ["--graceful-timeout", "30", "--timeout", "120", *options]
    env = {
        **os.environ,
        **otlp_env(server.url, SOMATRACE_FLUSH_INTERVAL="0.05", INIT=init),
        "PYTHONPATH": str(directory),
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, env=env, stdout=log, stderr=log)
    try:
        yield lambda: _request(address), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _await_two(log: Path, line: str) -> None:
    wait_until(lambda: log.read_text().count(line) >= 2)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        import socket

        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(HANG)
        self.sock.connect(str(self._path))


def _request(address: Path) -> int:
    until = time.monotonic() + 60
    while True:
        connection = _Connection(address)
        try:
            connection.request("GET", "/")
            return int(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            if time.monotonic() > until:
                raise AssertionError((address.parent / "log").read_text()) from None
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["sync", "gthread", "uvicorn.workers.UvicornWorker"])
@pytest.mark.parametrize(
    ("init", "preload"),
    [("app", False), ("app", True), ("config", False), ("config", True), ("post_fork", True)],
)
def test_the_spans_of_every_worker_arrive(tmp_path, server, worker, init, preload):
    options = ["--worker-class", worker, *(["--preload"] if preload else [])]
    with gunicorn(
        tmp_path, server, init, *options, f"application:{'asgi' if 'uvicorn' in worker else 'app'}"
    ) as (
        request,
        process,
    ):
        pids = [request() for _ in range(40)]
        # a worker misses a signal sent before it is up
        _await_two(tmp_path / "log", "startup complete" if "uvicorn" in worker else "worker ready")
        process.send_signal(signal.SIGTERM)  # a graceful stop: unsent spans are still sent
        process.wait(60)

    spans = server.named("request")
    assert sorted(span.attributes["pid"] for span in spans) == sorted(pids)
    assert {span.resource["process.pid"] for span in spans} == set(pids)
    assert len({span.span_id for span in spans}) == 40


@pytest.mark.slow
@pytest.mark.parametrize("init", ["app", "config"])
def test_workers_replaced_after_some_requests_lose_no_span(tmp_path, server, init):
    with gunicorn(tmp_path, server, init, "--preload", "--max-requests", "5", "application:app") as (
        request,
        _,
    ):
        pids = [request() for _ in range(40)]

    assert len(set(pids)) > 4
    assert sorted(span.attributes["pid"] for span in server.named("request")) == sorted(pids)
