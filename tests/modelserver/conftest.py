"""Fixtures that run a model server in a thread, on a free loopback port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import openai
import pytest
import uvicorn

from somatrace.modelserver.app import create_app
from tests.support.waiting import wait_until

Serving = Callable[..., AbstractContextManager[str]]


@contextmanager
def _serving(**options: object) -> Iterator[str]:
    """Run a server with these `create_app` options and yield its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(**options), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


@pytest.fixture(scope="session")
def serving() -> Serving:
    """A context manager that starts a server with custom options."""
    return _serving


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    with _serving(slow_seconds=5.0) as url:  # much longer than a client waits for it, on a busy machine too
        yield url


@pytest.fixture(scope="session")
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60) as made:
        yield made
