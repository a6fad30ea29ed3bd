"""groq: chats, streams, tools, errors."""

from __future__ import annotations

from typing import Any

from groq import AsyncGroq, Groq

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("groq", "opentelemetry-instrumentation-groq")
REGISTERED = ("groq",)
MODEL = "llama-3.3-70b-versatile"


def client(c: Planted) -> Groq:
    return Groq(api_key=c.key("api_key"), base_url=provider.url, max_retries=0)


def messages(c: Planted) -> list[Any]:
    return [{"role": "system", "content": c("system")}, {"role": "user", "content": c("prompt")}]


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat.completions.create(
        model=MODEL,
        messages=messages(c),
        user=c.word("user"),
        stop=[c("stop")],
        extra_headers={"x-customer": c.word("header")},
        temperature=0.5,
    )


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncGroq(api_key=c.key("api_key"), base_url=provider.url, max_retries=0)
    await one.chat.completions.create(model=MODEL, messages=messages(c))
    async for _ in await one.chat.completions.create(model=MODEL, messages=messages(c), stream=True):
        pass


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).chat.completions.create(model=MODEL, messages=messages(c), stream=True):
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


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            client(c).chat.completions.create(model=f"fail-{status}", messages=messages(c))
