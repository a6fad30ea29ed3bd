"""The streams of an MCP session behave as they do without tracing."""

from __future__ import annotations

import contextlib
import io
import json
from functools import partial

import anyio
import pytest

from somatrace import span
from somatrace.testing import capture

pytest.importorskip("mcp.server.stdio", reason="mcp is not installed in this environment")
pytestmark = pytest.mark.filterwarnings("ignore")

with capture():
    from mcp.client.session import ClientSession
    from mcp.server.models import InitializationOptions
    from mcp.server.session import ServerSession
    from mcp.server.stdio import stdio_server
    from mcp.shared.memory import create_client_server_memory_streams
    from mcp.shared.message import SessionMessage
    from mcp.shared.session import RequestResponder
    from mcp.types import ClientRequest, JSONRPCMessage, JSONRPCRequest, PingRequest, ServerCapabilities

PARAMS = [None, {}, {"cursor": "1"}, {"_meta": {}}, {"_meta": {"progressToken": 7}}]


def request(params=None):
    return SessionMessage(
        JSONRPCMessage(root=JSONRPCRequest(jsonrpc="2.0", id=3, method="ping", params=params))
    )


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_a_servers_request_is_sent_as_it_was_given(params, inside):
    out = io.StringIO()
    given = json.loads(json.dumps(params))

    async def serve():
        async with (
            stdio_server(anyio.AsyncFile(io.StringIO("")), anyio.AsyncFile(out)) as (_, writer),
            writer,
        ):
            await writer.send(request(given))

    with capture(), span("work") if inside else contextlib.nullcontext():
        anyio.run(serve)

    sent = json.loads(out.getvalue())
    assert sent.get("params") == params
    assert ("params" in sent) == (params is not None)
    assert given == params


def test_sending_on_a_closed_stream_raises():
    async def serve():
        async with stdio_server(anyio.AsyncFile(io.StringIO("")), anyio.AsyncFile(io.StringIO())) as (
            _,
            writer,
        ):
            await writer.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await writer.send(request())

    with capture():
        anyio.run(serve)


async def receive(stream):
    return await stream.receive()


async def receive_nowait(stream):
    while True:
        with contextlib.suppress(anyio.WouldBlock):
            return stream.receive_nowait()
        await anyio.sleep(0.01)


async def anext_of(stream):
    return await stream.__anext__()


async def iterate(stream):
    async for item in stream:
        return item
    raise AssertionError("the stream ended")


async def iterate_entered(stream):
    async with stream as entered:
        return await iterate(entered)


async def receive_from_a_clone(stream):
    async with stream.clone() as clone:
        return await clone.receive()


@pytest.mark.parametrize(
    "access", [receive, receive_nowait, anext_of, iterate, iterate_entered, receive_from_a_clone]
)
def test_a_server_receives_messages_on_every_access_path(access):
    received = []
    options = InitializationOptions(server_name="s", server_version="1", capabilities=ServerCapabilities())

    async def serve():
        async with (
            create_client_server_memory_streams() as (client_streams, server_streams),
            ServerSession(*server_streams, options, stateless=True) as server,
            ClientSession(*client_streams) as client,
            anyio.create_task_group() as tasks,
        ):
            ping = partial(client.send_request, ClientRequest(PingRequest()))
            tasks.start_soon(ping, type(None))
            received.append(await access(server.incoming_messages))
            tasks.cancel_scope.cancel()

    with capture():
        anyio.run(serve)

    assert isinstance(received[0], RequestResponder)
