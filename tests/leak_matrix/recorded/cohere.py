"""cohere: chats of both protocols, streams, tools, reranking, embeddings, errors."""

from __future__ import annotations

from typing import Any

from cohere import AsyncClientV2, Client, ClientV2
from cohere.core.request_options import RequestOptions

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("cohere", "opentelemetry-instrumentation-cohere")
REGISTERED = ("cohere",)
ONCE = RequestOptions(max_retries=0)


def client(c: Planted) -> ClientV2:
    return ClientV2(api_key=c.key("api_key"), base_url=provider.url)


def messages(c: Planted) -> list[Any]:
    return [{"role": "system", "content": c("system")}, {"role": "user", "content": c("prompt")}]


@case("system", "prompt", "answer")
def chat(c: Planted) -> None:
    client(c).chat(model="command-a", messages=messages(c), stop_sequences=[c("stop")], temperature=0.5)


@case("prompt", "answer")
def chat_of_the_first_protocol(c: Planted) -> None:
    one = Client(api_key=c.key("api_key"), base_url=provider.url)
    one.chat(model="command-r", message=c("prompt"), preamble=c("preamble"))


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = AsyncClientV2(api_key=c.key("api_key"), base_url=provider.url)
    await one.chat(model="command-a", messages=messages(c))


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client(c).chat_stream(model="command-a", messages=messages(c)):
        pass


@case("prompt", "description")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    function = {"name": "search", "description": c("description"), "parameters": schema}
    tool: Any = {"type": "function", "function": function}
    client(c).chat(model="command-a", messages=messages(c), tools=[tool])


@case("prompt")
def rerank(c: Planted) -> None:
    client(c).rerank(model="rerank-v3.5", query=c("prompt"), documents=[c("document"), c("other")])


@case()
def embeddings(c: Planted) -> None:
    client(c).embed(
        model="embed-v4.0", texts=[c("prompt")], input_type="search_query", embedding_types=["float"]
    )


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            client(c).chat(model=f"fail-{status}", messages=messages(c), request_options=ONCE)
        with failing():
            client(c).rerank(
                model=f"fail-{status}", query=c("prompt"), documents=[c("document")], request_options=ONCE
            )
