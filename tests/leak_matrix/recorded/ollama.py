"""ollama: chats, generations, embeddings, streams, tools, errors."""

from __future__ import annotations

from typing import Any

from ollama import AsyncClient, Client

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("ollama", "opentelemetry-instrumentation-ollama")
REGISTERED = ("ollama",)


def client(c: Planted) -> Client:
    return Client(host=provider.url, headers={"authorization": f"Bearer {c.key('api_key')}"})


def messages(c: Planted) -> list[dict[str, Any]]:
    return [{"role": "system", "content": c("system")}, {"role": "user", "content": c("prompt")}]


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat(model="llama3.2", messages=messages(c), options={"temperature": 0.5})


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncClient(host=provider.url)
    await one.chat(model="llama3.2", messages=messages(c))
    async for _ in await one.chat(model="llama3.2", messages=messages(c), stream=True):
        pass


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).chat(model="llama3.2", messages=messages(c), stream=True):
        pass


@case("prompt", "answer")
def generate(c: Planted) -> None:
    client(c).generate(model="llama3.2", prompt=c("prompt"), system=c("system"), suffix=c("suffix"))


@case("prompt", "arguments")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string", "description": c("schema")}}}
    tool = {"name": "search", "description": c("description"), "parameters": schema}
    asked = messages(c)
    first = client(c).chat(model="caller", messages=asked, tools=[{"type": "function", "function": tool}])
    asked += [first.message.model_dump(), {"role": "tool", "content": c("result"), "tool_name": "search"}]
    client(c).chat(model="caller", messages=asked, tools=[{"type": "function", "function": tool}])


@case()
def embeddings(c: Planted) -> None:
    client(c).embed(model="nomic-embed-text", input=[c("prompt"), c("other")])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            client(c).chat(model=f"fail-{status}", messages=messages(c))
        with failing():
            client(c).generate(model=f"fail-{status}", prompt=c("prompt"))
