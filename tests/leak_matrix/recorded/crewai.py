"""crewai: crews of agents with tasks and tools, and their failures."""

from __future__ import annotations

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("crewai", "opentelemetry-instrumentation-crewai")
REGISTERED = ("crewai",)


def crew(c: Planted, model: str = "gpt-4o") -> Crew:
    llm = LLM(model=f"openai/{model}", base_url=f"{provider.url}/v1", api_key=c.key("api_key"))

    @tool("search")
    def search(query: str) -> str:
        """Search the library."""
        return query + c("result")

    agent = Agent(role=c("role"), goal=c("goal"), backstory=c("backstory"), llm=llm, tools=[search])
    task = Task(description=c("prompt"), expected_output=c("expected"), agent=agent, name=c.word("task"))
    return Crew(agents=[agent], tasks=[task], name=c.word("crew"))


@case("prompt", "answer")
def kickoff(c: Planted) -> None:
    crew(c).kickoff(inputs={"customer": c("input")})


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    await crew(c).kickoff_async()


@case("prompt")
def short_prompts(c: Planted) -> None:
    made = crew(c)
    made.tasks[0].description = c.word("prompt")
    made.kickoff()


@case()
def failing_model(c: Planted) -> None:
    with failing():
        crew(c, "fail-400").kickoff()
