"""A real uvicorn server, in a thread or in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from tests.support.waiting import HANG, wait_until

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
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(HANG)


@contextmanager
def service(
    source: str, env: Mapping[str, str], directory: Path, *, command: tuple[str, ...] = (sys.executable,)
) -> Iterator[str]:
    """Run a program that ends with `serve(app)`, and stop it as an operator would; yields its URL."""
    script = directory / "service.py"
    errors = directory / "service.errors"
    script.write_text(_SERVE + textwrap.dedent(source))
    with (
        errors.open("wb") as output,  # a pipe that nobody reads fills up
        subprocess.Popen(
            [*command, str(script)],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                process.kill()
                raise AssertionError(errors.read_text())
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(HANG)
