"""mcp: a client and a server with tools, resources and prompts, and their failures."""

from __future__ import annotations

import contextlib

from mcp import McpError
from mcp.server.fastmcp import FastMCP
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import CallToolRequestParams  # noqa: F401 - loads what the instrumentor wraps

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing


def server(c: Planted) -> FastMCP:
    made = FastMCP("library", instructions=c("instructions"))

    @made.tool(description=c("description"))
    def search(query: str) -> str:
        return query + c("result")

    @made.tool()
    def fail(query: str) -> str:
        raise ValueError(f"{query} {c('error')}")

    @made.resource("note://{name}")
    def note(name: str) -> str:
        return name + c("resource")

    @made.prompt()
    def ask(topic: str) -> str:
        return topic + c("template")

    return made


@case("arguments", "result")
async def tools(c: Planted) -> None:
    async with create_connected_server_and_client_session(server(c)) as session:
        await session.list_tools()
        await session.call_tool("search", {"query": c("arguments")})


@case()
async def failing_tool(c: Planted) -> None:
    async with create_connected_server_and_client_session(server(c)) as session:
        await session.call_tool("fail", {"query": c("arguments")})
        await session.call_tool("search", {"wrong": c("arguments")})


@case()
async def resources_and_prompts(c: Planted) -> None:
    async with create_connected_server_and_client_session(server(c)) as session:
        await session.list_resources()
        await session.list_prompts()
        await session.read_resource(f"note://{c.word('uri')}")  # type: ignore[arg-type]
        await session.get_prompt("ask", {"topic": c("topic")})
        with contextlib.suppress(McpError):  # the instrumentor swallows it
            await session.read_resource(f"gone://{c.word('uri')}")  # type: ignore[arg-type]


@case()
async def straight_to_the_server(c: Planted) -> None:
    await server(c).call_tool("search", {"query": c("arguments")})
    with failing():
        await server(c).call_tool("fail", {"query": c("arguments")})
