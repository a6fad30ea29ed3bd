"""openai, with OpenTelemetry's own instrumentor: chats, streams, tools, embeddings, errors."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI, OpenAI

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("openai", "opentelemetry-instrumentation-openai-v2")


def instrument() -> None:
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def client(c: Planted) -> OpenAI:
    return OpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)


def messages(c: Planted) -> list[Any]:
    return [{"role": "system", "content": c("system")}, {"role": "user", "content": c("prompt")}]


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat.completions.create(
        model="gpt-4o", messages=messages(c), user=c.word("user"), stop=[c("stop")], temperature=0.5, seed=7
    )


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncOpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)
    await one.chat.completions.create(model="gpt-4o", messages=messages(c))


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).chat.completions.create(model="gpt-4o", messages=messages(c), stream=True):
        pass


@case("prompt", "arguments")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    function = {"name": "search", "description": c("description"), "parameters": schema}
    tool: Any = {"type": "function", "function": function}
    client(c).chat.completions.create(model="caller", messages=messages(c), tools=[tool])


@case()
def embeddings(c: Planted) -> None:
    client(c).embeddings.create(model="text-embedding-3-small", input=[c("prompt"), c("other")])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            client(c).chat.completions.create(model=f"fail-{status}", messages=messages(c))
