"""llama-index: queries over an index, chat engines, agents with tools, failures."""

from __future__ import annotations

from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("llama-index-core", "llama-index-llms-openai", "opentelemetry-instrumentation-llamaindex")
REGISTERED = ("llama_index",)


def llm(c: Planted, model: str = "gpt-4o") -> OpenAI:
    base = f"{provider.url}/v1"
    return OpenAI(model=model, api_base=base, api_key=c.key("api_key"), max_retries=0, context_window=8000)


def index(c: Planted) -> VectorStoreIndex:
    Settings.embed_model = MockEmbedding(embed_dim=3)
    document = Document(text=c("document"), metadata={"author": c.word("author")})
    return VectorStoreIndex.from_documents([document])


@case("prompt", "answer")
def query(c: Planted) -> None:
    index(c).as_query_engine(llm=llm(c)).query(c("prompt"))


@case("prompt", "answer")
def chat_engine(c: Planted) -> None:
    index(c).as_chat_engine(chat_mode="context", llm=llm(c), system_prompt=c("system")).chat(c("prompt"))


@case("arguments")
def tool(c: Planted) -> None:
    def search(query: str) -> str:
        return query + c("result")

    FunctionTool.from_defaults(search, description=c("description")).call(query=c("arguments"))


@case("prompt")
async def agent(c: Planted) -> None:
    def search(query: str) -> str:
        """Search the library."""
        return query + c("result")

    made = FunctionAgent(
        name="librarian", tools=[search], llm=llm(c), system_prompt=c("system"), streaming=False
    )
    await made.run(user_msg=c("prompt"))


@case()
def errors_that_echo(c: Planted) -> None:
    with failing():
        index(c).as_query_engine(llm=llm(c, "fail-400")).query(c("prompt"))
