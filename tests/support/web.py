"""A real uvicorn server, in a thread or in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

_SERVE = """
def serve(app):
    import uvicorn
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    started = server.startup
    async def startup(sockets=None):
        await started(sockets=sockets)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    server.startup = startup
    server.run()
"""


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve `app` on a thread of this process; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def service(
    source: str, env: Mapping[str, str], directory: Path, *, command: tuple[str, ...] = (sys.executable,)
) -> Iterator[str]:
    """Run a program that ends with `serve(app)`, and stop it as an operator would; yields its URL."""
    script = directory / "service.py"
    script.write_text(_SERVE + textwrap.dedent(source))
    with subprocess.Popen(
        [*command, str(script)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                process.kill()
                raise AssertionError(process.stderr.read() if process.stderr else "no port")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
