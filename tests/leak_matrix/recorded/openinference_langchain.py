"""langchain, with OpenInference's instrumentor: chains, tools, retrievers, agents, errors."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("langchain", "langchain-core", "langchain-openai", "openinference-instrumentation-langchain")


def instrument() -> None:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()


def model(c: Planted, name: str = "gpt-4o") -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=f"{provider.url}/v1", api_key=c.key("api_key"), max_retries=0)


class Shelf(BaseRetriever):
    c: Any

    def _get_relevant_documents(
        self, _: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [Document(self.c("document"), metadata={"author": self.c.word("author")})]


@case("system", "prompt", "answer")
def chain(c: Planted) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", c("system")), ("user", "{question}")])
    config: Any = {"metadata": {"customer": c("metadata")}, "tags": [c.word("tag")]}
    (prompt | model(c)).invoke({"question": c("prompt")}, config=config)


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in model(c).stream(c("prompt")):
        pass


@case("prompt", "document")
def retriever(c: Planted) -> None:
    Shelf(c=c).invoke(c("prompt"))


@case("prompt", "arguments", "result")
def agent(c: Planted) -> None:
    @tool(description=c("description"))
    def search(query: str) -> str:
        return query + c("result")

    made = create_agent(model(c, "caller"), tools=[search], system_prompt=c("system"))
    made.invoke({"messages": [{"role": "user", "content": c("prompt")}]})


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            model(c, f"fail-{status}").invoke(c("prompt"))

    @tool
    def fail(query: str) -> str:
        """Fail."""
        raise ValueError(query + c("error"))

    with failing():
        fail.invoke({"query": c("arguments")})
