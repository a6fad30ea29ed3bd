"""litellm: completions through it to two providers, streams, tools, embeddings, errors."""

from __future__ import annotations

from typing import Any

import litellm

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing, provider

litellm.suppress_debug_info = True


def asked(c: Planted, model: str = "openai/gpt-4o") -> dict[str, Any]:
    base = provider.url if model.startswith("anthropic") else f"{provider.url}/v1"
    return {
        "model": model,
        "api_base": base,
        "api_key": c.key("api_key"),
        "max_retries": 0,
        "messages": [{"role": "system", "content": c("system")}, {"role": "user", "content": c("prompt")}],
    }


@case("system", "prompt", "answer")
def completion(c: Planted) -> None:
    litellm.completion(
        **asked(c),
        user=c.word("user"),
        metadata={"customer": c("metadata")},
        extra_headers={"x-api-key": c.key("header")},
    )
    litellm.completion(**asked(c, "anthropic/claude-sonnet-4-5"))


@case("prompt")
async def asynchronous(c: Planted) -> None:
    await litellm.acompletion(**asked(c))
    async for _ in await litellm.acompletion(**asked(c), stream=True):
        pass


@case("prompt")
def stream(c: Planted) -> None:
    for _ in litellm.completion(**asked(c), stream=True, stream_options={"include_usage": True}):
        pass


@case("prompt")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    function = {"name": "search", "description": c("description"), "parameters": schema}
    # as litellm's own argument they would trigger an import that needs another release of mcp
    tools = [{"type": "function", "function": function}]
    litellm.completion(**asked(c, "openai/caller"), extra_body={"tools": tools})


@case()
def embedding(c: Planted) -> None:
    request = asked(c, "openai/text-embedding-3-small")
    del request["messages"]
    litellm.embedding(**request, input=[c("prompt")])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401, 429, 500):
        with failing():
            litellm.completion(**asked(c, f"openai/fail-{status}"))
        with failing():
            litellm.completion(**asked(c, f"anthropic/fail-{status}"))


@case()
def error_bodies_with_200(c: Planted) -> None:
    try:
        litellm.completion(**asked(c, "openai/wrong-200"))
    except Exception:  # some releases raise an exception, others return the error
        return


@case()
def broken_stream(c: Planted) -> None:
    with failing():
        for _ in litellm.completion(**asked(c, "openai/broken"), stream=True):
            pass
