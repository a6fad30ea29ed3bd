"""fastmcp, which makes spans of its own: a server with tools, resources and prompts, and their failures."""

from __future__ import annotations

from fastmcp import Client, FastMCP

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing

RELEASES = ("fastmcp", "mcp")


def server(c: Planted) -> FastMCP:
    made = FastMCP("library", instructions=c("instructions"))

    @made.tool(description=c("description"))
    def search(query: str) -> str:
        return query + c("result")

    @made.tool
    def fail(query: str) -> str:
        raise ValueError(f"{query} {c('error')}")

    @made.resource("note://{name}")
    def note(name: str) -> str:
        return name + c("resource")

    @made.prompt
    def ask(topic: str) -> str:
        return topic + c("template")

    return made


@case()
async def tools(c: Planted) -> None:
    async with Client(server(c)) as client:
        await client.list_tools()
        await client.call_tool("search", {"query": c("arguments")})


@case()
async def failing_tools(c: Planted) -> None:
    async with Client(server(c)) as client:
        with failing():
            await client.call_tool("fail", {"query": c("arguments")})
        with failing():
            await client.call_tool("unknown", {"query": c("arguments")})


@case()
async def resources_and_prompts(c: Planted) -> None:
    async with Client(server(c)) as client:
        await client.read_resource(f"note://{c.word('uri')}")
        await client.get_prompt("ask", {"topic": c("topic")})
        with failing():
            await client.read_resource(f"gone://{c.word('uri')}")
