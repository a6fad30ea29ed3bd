"""openai: chat, responses and embeddings, streams whole, broken and abandoned, tools, errors."""

from __future__ import annotations

import gc
from typing import Any

import pydantic
from openai import AsyncOpenAI, OpenAI
from opentelemetry import context as otel_context

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing, provider

PARAMETERS = {"type": "object", "properties": {"query": {"type": "string"}}}


def client(c: Planted, **more: Any) -> OpenAI:
    return OpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0, **more)


def messages(c: Planted) -> list[Any]:
    return [
        {"role": "system", "content": c("system")},
        {"role": "user", "content": c("prompt"), "name": "ada"},
    ]


def tool(c: Planted) -> dict[str, Any]:
    return {"name": "search", "description": c("description"), "parameters": PARAMETERS}


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat.completions.create(
        model="gpt-4o",
        messages=messages(c),
        user=c.word("user"),
        safety_identifier=c.email("safety"),
        metadata={"customer": c("metadata")},
        stop=[c("stop")],
        extra_headers={"x-api-key": c.key("header"), "x-customer": c.word("header")},
        extra_body={"prompt_cache_key": c("cache_key")},
        extra_query={"token": c.key("query")},
        temperature=0.5,
        max_tokens=50,
        seed=7,
    )


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncOpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)
    await one.chat.completions.create(model="gpt-4o", messages=messages(c))
    async for _ in await one.chat.completions.create(model="gpt-4o", messages=messages(c), stream=True):
        pass


@case("prompt", "answer")
def stream(c: Planted) -> None:
    options: Any = {"include_usage": True}
    for _ in client(c).chat.completions.create(
        model="gpt-4o", messages=messages(c), stream=True, stream_options=options
    ):
        pass


@case()
def broken_stream(c: Planted) -> None:
    with failing():
        for _ in client(c).chat.completions.create(model="broken", messages=messages(c), stream=True):
            pass


@case()
def abandoned_stream(c: Planted) -> None:
    answers = client(c).chat.completions.create(model="gpt-4o", messages=messages(c), stream=True)
    next(iter(answers))
    del answers
    gc.collect()


@case("prompt", "arguments", "result", "description")
def tools(c: Planted) -> None:
    asked: list[Any] = messages(c)
    function: Any = {"type": "function", "function": tool(c)}
    first = client(c).chat.completions.create(model="caller", messages=asked, tools=[function])
    asked.append(first.choices[0].message.to_dict())
    asked.append({"role": "tool", "tool_call_id": "call_1", "content": c("result")})
    client(c).chat.completions.create(model="caller", messages=asked, tools=[function])


class Shape(pydantic.BaseModel):
    text: str


@case("prompt", "answer")
def structured_output(c: Planted) -> None:
    schema = {"type": "object", "description": c("schema"), "properties": {"text": {"type": "string"}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "shape", "schema": schema}}
    client(c).chat.completions.create(model="gpt-4o", messages=messages(c), response_format=form)
    client(c).chat.completions.parse(model="gpt-4o", messages=messages(c), response_format=Shape)


@case("prompt")
def image(c: Planted) -> None:
    picture: Any = {"type": "image_url", "image_url": {"url": f"https://x.example/{c.word('image')}.png"}}
    content: Any = [{"type": "text", "text": c("prompt")}, picture]
    client(c).chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])


@case()
def base_url_with_a_token(c: Planted) -> None:
    url = f"{provider.url}/v1/{c.word('path')}?token={c.key('url')}"
    one = OpenAI(base_url=url, api_key=c.key("api_key"), max_retries=0)
    one.chat.completions.create(model="gpt-4o", messages=messages(c))


@case()
def embeddings(c: Planted) -> None:
    client(c).embeddings.create(model="text-embedding-3-small", input=[c("prompt"), c("other")])


@case("prompt", "answer")
def responses(c: Planted) -> None:
    function: Any = {"type": "function", **tool(c)}
    one = client(c)
    one.responses.create(
        model="gpt-4o",
        input=c("prompt"),
        instructions=c("system"),
        metadata={"customer": c("metadata")},
        user=c.word("user"),
    )
    one.responses.create(model="caller", input=c("prompt"), tools=[function])
    for _ in one.responses.create(model="gpt-4o", input=c("prompt"), stream=True):
        pass


@case()
def forced_by_the_context(c: Planted) -> None:
    token = otel_context.attach(otel_context.set_value("override_enable_content_tracing", True))
    client(c).chat.completions.create(model="gpt-4o", messages=messages(c))
    otel_context.detach(token)


@case()
def errors_that_echo(c: Planted) -> None:
    one = client(c)
    for status in (400, 401, 404, 429, 500):
        with failing():
            one.chat.completions.create(model=f"fail-{status}", messages=messages(c), user=c("user"))
        with failing():
            one.embeddings.create(model=f"fail-{status}", input=c("prompt"))
        with failing():
            one.responses.create(model=f"fail-{status}", input=c("prompt"))
        with failing():
            one.chat.completions.create(model=f"fail-{status}", messages=messages(c), stream=True)


@case()
def error_bodies_with_200(c: Planted) -> None:
    one = client(c)
    for call in (
        lambda: one.chat.completions.create(model="wrong-200", messages=messages(c)),
        lambda: one.responses.create(model="wrong-200", input=c("prompt")),
    ):
        try:
            call()
        except Exception:  # some releases raise an exception, others return the error
            continue


@case()
def unreachable(c: Planted) -> None:
    one = OpenAI(base_url=f"http://127.0.0.1:9/{c.word('path')}", api_key=c.key("api_key"), max_retries=0)
    with failing():
        one.chat.completions.create(model="gpt-4o", messages=messages(c))


@case("prompt")
def raw_response(c: Planted) -> None:
    client(c).chat.completions.with_raw_response.create(model="gpt-4o", messages=messages(c))
