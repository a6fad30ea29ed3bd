"""openai, with OpenInference's instrumentor: chats, streams, tools, responses, embeddings, errors."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI, OpenAI

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("openai", "openinference-instrumentation-openai")


def instrument() -> None:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def client(c: Planted) -> OpenAI:
    return OpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)


def messages(c: Planted) -> list[Any]:
    return [{"role": "system", "content": c("system")}, {"role": "user", "content": c("prompt")}]


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat.completions.create(
        model="gpt-4o",
        messages=messages(c),
        user=c.word("user"),
        metadata={"customer": c("metadata")},
        stop=[c("stop")],
        temperature=0.5,
    )


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncOpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)
    await one.chat.completions.create(model="gpt-4o", messages=messages(c))


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).chat.completions.create(model="gpt-4o", messages=messages(c), stream=True):
        pass


@case("prompt", "arguments", "result")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    function = {"name": "search", "description": c("description"), "parameters": schema}
    tool: Any = {"type": "function", "function": function}
    asked = messages(c)
    first = client(c).chat.completions.create(model="caller", messages=asked, tools=[tool])
    asked.append(first.choices[0].message.to_dict())
    asked.append({"role": "tool", "tool_call_id": "call_1", "content": c("result")})
    client(c).chat.completions.create(model="caller", messages=asked, tools=[tool])


@case("prompt", "answer")
def responses(c: Planted) -> None:
    client(c).responses.create(model="gpt-4o", input=c("prompt"), instructions=c("system"))


@case("prompt")
def embeddings(c: Planted) -> None:
    client(c).embeddings.create(model="text-embedding-3-small", input=[c("prompt"), c("other")])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            client(c).chat.completions.create(model=f"fail-{status}", messages=messages(c))
        with failing():
            client(c).responses.create(model=f"fail-{status}", input=c("prompt"))
