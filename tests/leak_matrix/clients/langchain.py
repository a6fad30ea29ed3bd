"""langchain: chat models, chains, tools, retrievers, structured output, agents."""

from __future__ import annotations

from typing import Any

import pydantic
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing, provider


def model(c: Planted, name: str = "gpt-4o", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0, **more
    )


def config(c: Planted) -> Any:
    """A program's metadata for a run, including words of its users."""
    return {
        "metadata": {"tenant_id": "open", "customer": c("metadata"), "ls_model_name": c.word("spoof")},
        "tags": [c.word("tag")],
    }


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    asked = [("system", c("system")), ("user", c("prompt"))]
    model(c).invoke(asked, config=config(c))
    for _ in model(c, stream_usage=True).stream(asked):
        pass


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    await model(c).ainvoke(c("prompt"), config=config(c))
    async for _ in model(c).astream(c("prompt")):
        pass


@case("prompt", "answer")
def chain(c: Planted) -> None:
    template = ChatPromptTemplate.from_messages([("system", c("template")), ("user", "{question}")])
    steps = template | model(c) | RunnableLambda(lambda said: said.content)
    steps.invoke({"question": c("prompt")}, config=config(c))
    steps.batch([{"question": c("prompt")}])


@case("prompt", "description")
def bound_tools(c: Planted) -> None:
    def search(query: str) -> str:
        return query

    search.__doc__ = c("description")
    model(c, "caller").bind_tools([search]).invoke(c("prompt"))


@case("input", "result")
def tools(c: Planted) -> None:
    @tool(description=c("description"))
    def look_up(query: str) -> str:
        return query + c("result")

    look_up.invoke({"query": c("input")}, config=config(c))

    @tool(description=c("description"))
    def fail(query: str) -> str:
        raise ValueError(query)

    with failing():
        fail.invoke({"query": c("input")})


class Answer(pydantic.BaseModel):
    """The requested output structure."""

    text: str


@case("prompt")
def structured_output(c: Planted) -> None:
    model(c).with_structured_output(Answer).invoke(c("prompt"))


class Shelf(BaseRetriever):
    text: str

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [Document(page_content=self.text + query, metadata={"source": self.text})]


@case()
def retriever(c: Planted) -> None:
    Shelf(text=c("document")).invoke(c("query"), config=config(c))


@case()
def embeddings(c: Planted) -> None:
    OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=f"{provider.url}/v1",
        api_key=c.key("api_key"),
        check_embedding_ctx_length=False,
    ).embed_documents([c("document")])


@case("prompt", "system", "arguments", "result")
def agent(c: Planted) -> None:
    @tool(description=c("description"))
    def search(query: str) -> str:
        return query + c("result")

    agent = create_agent(model(c, "caller"), tools=[search], system_prompt=c("system"), name="planner")
    agent.invoke({"messages": [("user", c("prompt"))]}, config=config(c))


@case()
def agent_whose_tool_fails(c: Planted) -> None:
    @tool(description=c("description"))
    def search(query: str) -> str:
        raise ValueError(f"{query} {c('result')}")

    agent = create_agent(model(c, "caller"), tools=[search], system_prompt=c("system"))
    with failing():
        agent.invoke({"messages": [("user", c("prompt"))]})


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401, 429, 500):
        with failing():
            model(c, f"fail-{status}").invoke(c("prompt"))
    with failing():
        model(c, "wrong-200").invoke(c("prompt"))
    with failing():
        RunnableLambda(lambda said: 1 / len(said[:0])).invoke(c("prompt"))
