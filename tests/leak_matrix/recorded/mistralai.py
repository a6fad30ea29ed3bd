"""mistralai: chats, streams, tools, embeddings, errors."""

from __future__ import annotations

from typing import Any

from mistralai import Mistral
from mistralai.models import SystemMessage, UserMessage

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("mistralai", "opentelemetry-instrumentation-mistralai")
REGISTERED = ("mistralai",)


def client(c: Planted) -> Mistral:
    return Mistral(api_key=c.key("api_key"), server_url=provider.url)


def messages(c: Planted) -> list[Any]:
    return [SystemMessage(content=c("system")), UserMessage(content=c("prompt"))]


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat.complete(model="mistral-large-latest", messages=messages(c), stop=[c("stop")])


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    await client(c).chat.complete_async(model="mistral-large-latest", messages=messages(c))


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).chat.stream(model="mistral-large-latest", messages=messages(c)):
        pass


@case("prompt")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    function = {"name": "search", "description": c("description"), "parameters": schema}
    tool: Any = {"type": "function", "function": function}
    client(c).chat.complete(model="caller", messages=messages(c), tools=[tool])


@case()
def embeddings(c: Planted) -> None:
    client(c).embeddings.create(model="mistral-embed", inputs=[c("prompt"), c("other")])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            client(c).chat.complete(model=f"fail-{status}", messages=messages(c))
        with failing():
            client(c).embeddings.create(model=f"fail-{status}", inputs=[c("prompt")])
