"""Realtime connections of OpenAI's client work as without tracing. They have no spans."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from somatrace.testing import capture

openai = pytest.importorskip("openai", reason="openai is not installed in this environment")
server = pytest.importorskip("websockets.sync.server", reason="websockets is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")

EVENT = {"type": "session.created", "event_id": "1", "session": {"type": "realtime", "model": "m"}}


@pytest.fixture
def url() -> Iterator[str]:
    """A server that greets each connection, and answers each message with what it has received."""

    def serve(connection: Any) -> None:
        connection.send(json.dumps(EVENT))
        for message in connection:
            connection.send(json.dumps({"type": "error", "event_id": "2", "error": json.loads(message)}))

    with server.serve(serve, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}"
        running.shutdown()


@pytest.fixture(autouse=True)
def _tracing(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING), capture(timeout=60):
        yield
    assert [record.getMessage() for record in caplog.records if record.name.startswith("somatrace")] == []


def _realtime(client: Any, api: str) -> Any:
    found = client.beta if api == "beta" else client
    if not hasattr(found, "realtime"):
        pytest.skip(f"this version of openai has no {api} realtime API")
    return found.realtime


@pytest.mark.parametrize("api", ["beta", "general"])
def test_a_synchronous_connection_gives_its_events(url: str, api: str) -> None:
    client = openai.OpenAI(api_key="k", websocket_base_url=url)

    with _realtime(client, api).connect(model="m") as connection:
        first = connection.recv()
        connection.response.create()
        second = next(iter(connection))

    assert type(connection).__module__.startswith("openai.")
    assert (first.type, second.type) == ("session.created", "error")
    assert second.error.type == "response.create"


@pytest.mark.parametrize("api", ["beta", "general"])
def test_an_asynchronous_connection_gives_its_events(url: str, api: str) -> None:
    async def main() -> None:
        client = openai.AsyncOpenAI(api_key="k", websocket_base_url=url)
        async with _realtime(client, api).connect(model="m") as connection:
            assert (await connection.recv()).type == "session.created"
            await connection.response.create()
            async for event in connection:
                assert event.type == "error"
                assert event.error.type == "response.create"
                break
            assert type(connection).__module__.startswith("openai.")

    asyncio.run(main())
