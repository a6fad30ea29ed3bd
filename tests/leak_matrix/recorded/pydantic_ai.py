"""pydantic-ai, which makes spans of its own: agents with tools and typed results, streams, failures."""

from __future__ import annotations

from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("pydantic-ai-slim", "openai")


def instrument() -> None:
    Agent.instrument_all()


def model(c: Planted, name: str = "gpt-4o") -> OpenAIChatModel:
    client = AsyncOpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))


@case("system", "prompt", "answer")
async def agent(c: Planted) -> None:
    made = Agent(model(c), name="librarian", instructions=c("system"), metadata={"customer": c("metadata")})
    await made.run(c("prompt"))


@case("prompt", "arguments", "result")
async def tools(c: Planted) -> None:
    made = Agent(model(c, "caller"), name="librarian")

    @made.tool_plain(description=c("description"))
    def search(query: str) -> str:
        return query + c("result")

    await made.run(c("prompt"))


@case("prompt")
async def failing_tool(c: Planted) -> None:
    made = Agent(model(c, "caller"), name="librarian")

    @made.tool_plain
    def search(query: str) -> str:
        raise ValueError(query + c("error"))

    with failing():
        await made.run(c("prompt"))


@case("prompt", "answer")
async def stream(c: Planted) -> None:
    async with Agent(model(c), name="librarian").run_stream(c("prompt")) as answer:
        async for _ in answer.stream_text():
            pass


@case()
async def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            await Agent(model(c, f"fail-{status}"), name="librarian").run(c("prompt"))
