"""MCP messages carry the trace to allowed servers only, and servers do not believe what they carry."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context

from somatrace import bind, propagation, span
from somatrace.config import Settings
from somatrace.propagation import tag_header
from somatrace.testing import Captured, capture
from tests.support.programs import run_program
from tests.support.web import serving

mcp = pytest.importorskip("mcp", reason="mcp is not installed in this environment")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
TRACE_NAMES = {"traceparent", "tracestate", "baggage", "x-somatrace-tags"}
#: A server whose tool returns the `_meta` it received, and the tags, baggage and trace that apply in it.
SERVER = """
import json
from typing import Any
from opentelemetry import baggage, trace
try:
    from mcp.server.fastmcp import Context, FastMCP as Server
except ImportError:
    from mcp.server.mcpserver import Context, MCPServer as Server

def make(**settings: Any) -> Server:
    server = Server("s", **settings)

    async def look(ctx: Context) -> str:
        meta = ctx.request_context.meta
        meta = meta.model_dump() if hasattr(meta, "model_dump") else dict(meta or {})
        current = trace.get_current_span().get_span_context()
        return json.dumps({"meta": {k: v for k, v in meta.items() if v is not None},
                           "baggage": dict(baggage.get_all()), "trace": f"{current.trace_id:032x}",
                           "sampled": bool(current.trace_flags)})

    server.tool()(look)
    return server
"""


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the name of an external host to this machine."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        here = host in ("api.external.example", b"api.external.example")
        return resolve("127.0.0.1" if here else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


@pytest.fixture
def rules() -> Iterator[Callable[..., None]]:
    with capture():
        pass

    def configure(**settings: object) -> None:
        propagation.configure(Settings(**settings))  # type: ignore[arg-type]

    yield configure
    configure()


@asynccontextmanager
async def session(transport: Any) -> AsyncIterator[Any]:
    async with transport as streams, mcp.ClientSession(*streams[:2]) as client:
        await client.initialize()
        yield client


def over_http(url: str) -> Any:
    from mcp.client import streamable_http

    return streamable_http.streamable_http_client(f"{url}/mcp")


def over_sse(url: str) -> Any:
    from mcp.client import sse

    return sse.sse_client(f"{url}/sse")


class Served:
    """The tags that came in the headers of each tool call, by the tenant that its argument names."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.tags: dict[str, set[object]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def receive_and_record() -> Any:
            message = await receive()
            called = re.search(rb'"mine": ?"(\w+)"', message.get("body") or b"")
            if called is not None:
                sent = dict(scope["headers"]).get(b"x-somatrace-tags")
                tenant = None if sent is None else decoded(sent.decode()).get("tenant_id")
                self.tags.setdefault(called[1].decode(), set()).add(tenant)
            return message

        await self.app(scope, receive_and_record, send)


def decoded(header: str) -> Any:
    return tag_header.decode(tag_header.split(header)[0])


@pytest.fixture
def served() -> Iterator[tuple[int, Served]]:
    """A server of both HTTP transports, in this process."""
    made: dict[str, Any] = {}
    exec(SERVER, made)
    security = pytest.importorskip("mcp.server.transport_security").TransportSecuritySettings
    open_to_all = {"transport_security": security(enable_dns_rebinding_protection=False)}
    stateless = {"stateless_http": True, "json_response": True}
    try:
        server = made["make"](**open_to_all, **stateless)
        app, sse = server.streamable_http_app(), server.sse_app()
    except TypeError:  # mcp 2
        server = made["make"]()
        app, sse = server.streamable_http_app(**open_to_all, **stateless), server.sse_app(**open_to_all)
    app.router.routes.extend(sse.router.routes)
    recorded = Served(app)
    with serving(recorded) as url:
        yield int(url.rpartition(":")[2]), recorded


@pytest.fixture
def port(served: tuple[int, Served]) -> int:
    return served[0]


def call(transport: Callable[[], Any], meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """Call the tool within a span and with baggage; returns its answer."""

    async def run() -> dict[str, Any]:
        async with session(transport()) as client:
            token = otel_context.attach(baggage.set_baggage("plan", "gold"))
            try:
                with span("work"):
                    answer = await client.call_tool("look", {}, **({"meta": meta} if meta else {}))
            finally:
                otel_context.detach(token)
            return json.loads(answer.content[0].text)  # type: ignore[no-any-return]

    return asyncio.run(run())


def trace_of(seen: Captured, name: str) -> str:
    return f"{seen.named(name).context.trace_id:032x}"


each_transport = pytest.mark.parametrize("connect", [over_http, over_sse], ids=lambda each: each.__name__)


@each_transport
def test_an_external_server_gets_neither_trace_nor_baggage(connect: Any, port: int) -> None:
    with capture():
        plain = call(lambda: connect(f"http://api.external.example:{port}"))
        planted = call(
            lambda: connect(f"http://api.external.example:{port}"),
            {"traceparent": f"{TRACE}-01", "baggage": "plan=planted", "own": "kept"},
        )

    assert not TRACE_NAMES & plain["meta"].keys()
    assert not TRACE_NAMES & planted["meta"].keys()
    assert planted["meta"]["own"] == "kept"


@each_transport
def test_a_server_in_the_cluster_gets_both_and_its_tool_is_in_the_callers_trace(
    connect: Any, port: int, rules: Any
) -> None:
    rules()
    with capture() as seen:
        answer = call(lambda: connect(f"http://localhost:{port}"))

    assert answer["meta"]["traceparent"].split("-")[1] == trace_of(seen, "work")
    assert answer["meta"]["baggage"] == "plan=gold"
    assert answer["trace"] == trace_of(seen, "work")


@each_transport
def test_tasks_that_share_a_session_send_their_own_tags_only(
    connect: Any, served: tuple[int, Served]
) -> None:
    port, server = served

    async def work(client: Any, tenant: str) -> None:
        with bind(tenant_id=tenant), span("work"):
            await client.call_tool("look", {}, meta={"mine": tenant})

    async def run() -> None:
        with bind(tenant_id="connected"), span("connect"):
            async with session(connect(f"http://localhost:{port}")) as client:
                await asyncio.gather(*(work(client, tenant) for tenant in ("acme", "globex")))

    with capture():
        asyncio.run(run())

    assert server.tags.keys() == {"acme", "globex"}
    for tenant, sent in server.tags.items():
        assert sent == ({tenant} if connect is over_http else {None})


@each_transport
def test_nothing_is_written_inside_a_model_call(connect: Any, port: int) -> None:
    async def run() -> dict[str, Any]:
        async with session(connect(f"http://localhost:{port}")) as client:
            token = otel_context.attach(baggage.set_baggage("plan", "gold"))
            with span("answer", kind="llm"):
                answer = await client.call_tool("look", {}, meta={"traceparent": f"{TRACE}-01"})
            otel_context.detach(token)
            return json.loads(answer.content[0].text)["meta"]  # type: ignore[no-any-return]

    with capture():
        meta = asyncio.run(run())

    assert not TRACE_NAMES & meta.keys()


def test_a_server_that_is_a_child_process_gets_the_trace_without_baggage(tmp_path: Path) -> None:
    from mcp.client import stdio

    (tmp_path / "server.py").write_text(SERVER + "\nmake().run()\n")
    parameters = stdio.StdioServerParameters(command=sys.executable, args=[str(tmp_path / "server.py")])
    with capture() as seen:
        answer = call(lambda: stdio.stdio_client(parameters))

    assert answer["meta"]["traceparent"].split("-")[1] == trace_of(seen, "work")
    assert "baggage" not in answer["meta"]


def test_fastmcp_clients_send_no_more(port: int, rules: Any) -> None:
    fastmcp = pytest.importorskip("fastmcp", reason="fastmcp is not installed in this environment")
    rules()

    async def ask(host: str) -> dict[str, Any]:
        async with fastmcp.Client(f"http://{host}:{port}/mcp") as client:
            token = otel_context.attach(baggage.set_baggage("plan", "gold"))
            try:
                answer = await client.call_tool("look", {})
            finally:
                otel_context.detach(token)
            return json.loads(answer.content[0].text)["meta"]  # type: ignore[no-any-return]

    with capture():
        outside = asyncio.run(ask("api.external.example"))
        inside = asyncio.run(ask("localhost"))

    assert not TRACE_NAMES & outside.keys()
    assert {"traceparent", "baggage"} <= inside.keys()


def test_a_call_succeeds_where_the_program_has_switched_the_instrumentor_on(tmp_path: Path) -> None:
    pytest.importorskip("mcp.server.fastmcp", reason="the instrumentor does not support mcp 2")
    (tmp_path / "server.py").write_text(SERVER + "\nmake().run()\n")
    program = f"""
    from opentelemetry.instrumentation.mcp import McpInstrumentor
    McpInstrumentor().instrument()
    from somatrace import init_tracing, span
    init_tracing("svc")
    import asyncio, mcp, sys
    from mcp.client import stdio

    async def run():
        server = stdio.StdioServerParameters(command=sys.executable, args=[{str(tmp_path / "server.py")!r}])
        async with stdio.stdio_client(server) as streams, mcp.ClientSession(*streams) as client:
            await client.initialize()
            with span("work"):
                answer = await client.call_tool("look", {{}}, meta={{"own": "kept"}})
        print(answer.content[0].text)

    asyncio.run(run())
    """

    meta = json.loads(run_program(program, {"SOMATRACE_TARGET": "none"}).stdout)["meta"]

    assert meta["own"] == "kept"
    assert {"traceparent", "baggage"} & meta.keys() <= {"traceparent"}


@pytest.mark.parametrize(
    "address",
    [
        {},
        {"type": "http", "headers": {}, "client": ["127.0.0.1", 1]},
        {"wsgi.version": [1, 0], "REMOTE_ADDR": "127.0.0.1"},
    ],
    ids=["plain", "like asgi", "like wsgi"],
)
@pytest.mark.parametrize("edge", [False, True], ids=["inside", "edge"])
def test_a_callers_meta_is_not_believed(edge: bool, address: dict[str, Any], port: int, rules: Any) -> None:
    rules(edge=edge, trust=("127.0.0.0/8",))
    meta = {"traceparent": f"{TRACE}-00", "baggage": "plan=forged", **address}
    params = {"name": "look", "arguments": {}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    request = Request(
        f"http://localhost:{port}/mcp",
        body.encode(),
        {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"},
    )

    with capture(), urlopen(request, timeout=60) as sent:
        answer = json.loads(json.load(sent)["result"]["content"][0]["text"])

    assert answer["meta"]["traceparent"] == meta["traceparent"]
    assert answer["baggage"] == {}
    assert (answer["trace"] == TRACE[3:35]) is not edge
    assert answer["sampled"] or edge
