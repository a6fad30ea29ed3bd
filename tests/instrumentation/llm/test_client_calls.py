"""Model servers get no trace headers and no tags from any client of the registry, whatever their host."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from somatrace import bind, span
from somatrace.testing import capture
from tests.support.echo_server import Echo

#: Names that reveal traces or tenants, and ids that only the program's own services get.
TRACE_HEADERS = {
    "traceparent",
    "tracestate",
    "baggage",
    "x-somatrace-tags",
    "x-correlation-id",
    "x-request-id",
}
USER = [{"role": "user", "content": "hi"}]
Call = Callable[[str], object]


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed in this environment")


def mistral() -> Any:
    """The client's class, which the second major line has moved."""
    module = library("mistralai")
    return getattr(module, "Mistral", None) or library("mistralai.client").Mistral


def openai(url: str) -> None:
    """An OpenAI-compatible server, such as vLLM, in the cluster."""
    client = library("openai").OpenAI(api_key="k", base_url=url, max_retries=0)
    client.chat.completions.create(model="m", messages=USER)


def anthropic(url: str) -> None:
    client = library("anthropic").Anthropic(api_key="k", base_url=url, max_retries=0)
    client.messages.create(model="m", max_tokens=5, messages=USER)


def ollama(url: str) -> None:
    library("ollama").Client(host=url).chat(model="m", messages=USER)


def ollama_async(url: str) -> None:
    asyncio.run(library("ollama").AsyncClient(host=url).chat(model="m", messages=USER))


def ollama_stream(url: str) -> None:
    list(library("ollama").Client(host=url).chat(model="m", messages=USER, stream=True))


def mistralai(url: str) -> None:
    client = mistral()(api_key="k", server_url=url)
    client.chat.complete(model="m", messages=USER)


def mistralai_async(url: str) -> None:
    client = mistral()(api_key="k", server_url=url)
    asyncio.run(client.chat.complete_async(model="m", messages=USER))


def cohere(url: str) -> None:
    library("cohere").ClientV2(api_key="k", base_url=url).chat(model="m", messages=USER)


def cohere_async(url: str) -> None:
    asyncio.run(library("cohere").AsyncClientV2(api_key="k", base_url=url).chat(model="m", messages=USER))


def huggingface_hub(url: str) -> None:
    library("huggingface_hub").InferenceClient(base_url=url, api_key="k").chat_completion(USER, model="m")


def huggingface_hub_async(url: str) -> None:
    client = library("huggingface_hub").AsyncInferenceClient(base_url=url, api_key="k")
    asyncio.run(client.chat_completion(USER, model="m"))


def groq(url: str) -> None:
    client = library("groq").Groq(api_key="k", base_url=url, max_retries=0)
    client.chat.completions.create(model="m", messages=USER)


def google_genai(url: str) -> None:
    client = library("google.genai").Client(api_key="k", http_options={"base_url": url})
    client.models.generate_content(model="m", contents="hi")


def google_genai_async(url: str) -> None:
    client = library("google.genai").Client(api_key="k", http_options={"base_url": url})
    asyncio.run(client.aio.models.generate_content(model="m", contents="hi"))


def voyageai(url: str) -> None:
    module = library("voyageai")
    module.Client(api_key="k", base_url=url, max_retries=0, timeout=60).embed(["hi"], model="m")


def replicate(url: str) -> None:
    library("replicate").Client(api_token="k", base_url=url).models.list()


def together(url: str) -> None:
    client = library("together").Together(api_key="k", base_url=url, max_retries=0)
    client.chat.completions.create(model="m", messages=USER)


def dashscope(url: str) -> None:
    module = library("dashscope")
    module.Generation.call(model="m", messages=USER, api_key="k", base_address=url)


def zhipuai(url: str) -> None:
    client = library("zhipuai").ZhipuAI(api_key="k.s", base_url=url, max_retries=0)
    client.chat.completions.create(model="m", messages=USER)


def ai21(url: str) -> None:
    client = library("ai21").AI21Client(api_key="k", api_host=url, num_retries=0)
    message = library("ai21.models.chat").ChatMessage(role="user", content="hi")
    client.chat.completions.create(model="jamba-mini", messages=[message])


def aleph_alpha(url: str) -> None:
    module = library("aleph_alpha_client")
    client = module.Client("k", host=url, total_retries=0)
    client.complete(module.CompletionRequest(prompt=module.Prompt.from_text("hi")), model="m")


def writer(url: str) -> None:
    client = library("writerai").Writer(api_key="k", base_url=url, max_retries=0)
    client.chat.chat(model="m", messages=USER)


def cerebras(url: str) -> None:
    module = library("cerebras.cloud.sdk")
    client = module.Cerebras(api_key="k", base_url=url, max_retries=0, warm_tcp_connection=False)
    client.chat.completions.create(model="m", messages=USER)


def fireworks(url: str) -> None:
    client = library("fireworks.client").Fireworks(api_key="k", base_url=url)
    client.chat.completions.create(model="m", messages=USER)


def litellm(url: str) -> None:
    module = library("litellm")
    module.completion(model="ollama_chat/m", messages=USER, api_base=url, num_retries=0)


def langchain_mistralai(url: str) -> None:
    model = library("langchain_mistralai").ChatMistralAI(api_key="k", endpoint=url, max_retries=1)
    model.invoke("hi")


def bedrock(url: str) -> None:
    client = library("boto3").client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )
    client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])


CALLS: list[Call] = [
    ai21, aleph_alpha, anthropic, bedrock, cerebras, cohere, cohere_async, dashscope, fireworks,
    google_genai, google_genai_async, groq, huggingface_hub, huggingface_hub_async, langchain_mistralai,
    litellm, mistralai, mistralai_async, ollama, ollama_async, ollama_stream, openai, replicate, together,
    voyageai, writer, zhipuai,
]  # fmt: skip


@pytest.mark.slow
# warnings of the libraries, some of whose clients cannot be closed
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_model_server_in_the_cluster_gets_no_trace_headers(call: Call, echo: Echo) -> None:
    failure = None
    with capture(), bind(tenant_id="acme", correlation_id="c-1", request_id="r-1"), span("work"):
        try:
            call(f"http://localhost:{echo.port}")
        except Exception as error:  # the answers are empty
            failure = error
    gc.collect()  # the warnings about sockets belong to this test

    assert echo.requests, repr(failure)
    for sent in echo.requests:
        assert not TRACE_HEADERS & sent.keys()
