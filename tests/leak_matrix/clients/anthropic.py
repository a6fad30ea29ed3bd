"""anthropic: messages, streams, tools, errors; and the SDK's own spans."""

from __future__ import annotations

import gc
from typing import Any

from anthropic import Anthropic, AsyncAnthropic

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing, provider


def client(c: Planted, **more: Any) -> Anthropic:
    return Anthropic(base_url=provider.url, api_key=c.key("api_key"), max_retries=0, **more)


def asked(c: Planted, model: str = "claude-sonnet-4-5") -> dict[str, Any]:
    message = {"role": "user", "content": c("prompt")}
    return {"model": model, "max_tokens": 5, "system": c("system"), "messages": [message]}


@case("system", "prompt", "answer")
def messages(c: Planted) -> None:
    client(c).messages.create(
        **asked(c),
        metadata={"user_id": c.email("user")},
        stop_sequences=[c("stop")],
        extra_headers={"x-api-key": c.key("header"), "x-customer": c.word("header")},
        extra_query={"token": c.key("query")},
    )


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncAnthropic(base_url=provider.url, api_key=c.key("api_key"), max_retries=0)
    await one.messages.create(**asked(c))
    async for _ in await one.messages.create(**asked(c), stream=True):
        pass


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).messages.create(**asked(c), stream=True):
        pass
    with client(c).messages.stream(**asked(c)) as answers:
        for _ in answers:
            pass


@case()
def broken_stream(c: Planted) -> None:
    with failing():
        for _ in client(c).messages.create(**asked(c, "broken"), stream=True):
            pass


@case()
def abandoned_stream(c: Planted) -> None:
    answers = client(c).messages.create(**asked(c), stream=True)
    next(iter(answers))
    del answers
    gc.collect()


@case("prompt", "arguments", "result", "description")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string", "description": c("schema")}}}
    tool: Any = {"name": "search", "description": c("description"), "input_schema": schema}
    request = asked(c, "caller")
    first = client(c).messages.create(**request, tools=[tool])
    request["messages"].append({"role": "assistant", "content": first.to_dict()["content"]})
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": c("result")}
    request["messages"].append({"role": "user", "content": [result]})
    client(c).messages.create(**request, tools=[tool])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401, 404, 429, 500, 529):
        with failing():
            client(c).messages.create(**asked(c, f"fail-{status}"))
        with failing():
            client(c).messages.create(**asked(c, f"fail-{status}"), stream=True)


@case()
def error_bodies_with_200(c: Planted) -> None:
    try:
        client(c).messages.create(**asked(c, "wrong-200"))
    except Exception:  # some releases raise an exception, others return the error
        return


@case()
def unreachable(c: Planted) -> None:
    one = Anthropic(base_url=f"http://127.0.0.1:9/{c.word('path')}", api_key=c.key("key"), max_retries=0)
    with failing():
        one.messages.create(**asked(c))
