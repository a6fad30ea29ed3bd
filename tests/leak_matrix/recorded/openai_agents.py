"""openai-agents: agents with tools, handoffs and guardrails, failures."""

from __future__ import annotations

from typing import Any

from agents import (
    Agent,
    GuardrailFunctionOutput,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    input_guardrail,
)
from openai import AsyncOpenAI

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("openai-agents", "openai", "opentelemetry-instrumentation-openai-agents")
REGISTERED = ("openai_agents",)


def instrument() -> None:
    """Remove the exporter that sends traces to OpenAI."""
    from agents.tracing import get_trace_provider

    multi: Any = get_trace_provider()._multi_processor  # type: ignore[attr-defined]
    multi._processors = tuple(one for one in multi._processors if "opentelemetry" in type(one).__module__)


def client(c: Planted) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)


def responses(c: Planted, name: str = "gpt-4o") -> OpenAIResponsesModel:
    return OpenAIResponsesModel(model=name, openai_client=client(c))


@case("system", "prompt", "answer")
async def agent(c: Planted) -> None:
    made = Agent(name="librarian", instructions=c("system"), model=responses(c))
    await Runner.run(made, c("prompt"))


@case("prompt")
async def chat_completions(c: Planted) -> None:
    model = OpenAIChatCompletionsModel(model="gpt-4o", openai_client=client(c))
    await Runner.run(Agent(name="librarian", instructions=c("system"), model=model), c("prompt"))


@case("prompt", "arguments", "result")
async def tools(c: Planted) -> None:
    @function_tool(description_override=c("description"))
    def search(query: str) -> str:
        return query + c("result")

    model = OpenAIChatCompletionsModel(model="caller", openai_client=client(c))
    await Runner.run(Agent(name="librarian", model=model, tools=[search]), c("prompt"))


@case("prompt")
async def guardrails(c: Planted) -> None:
    @input_guardrail(name="polite")
    def polite(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=c("guardrail"), tripwire_triggered=False)

    made = Agent(name="librarian", model=responses(c), input_guardrails=[polite])
    await Runner.run(made, c("prompt"))


@case()
async def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            await Runner.run(Agent(name="librarian", model=responses(c, f"fail-{status}")), c("prompt"))
