"""Transports and HTTP clients of the program belong to the model call that uses them; tools do not."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest
import requests

from somatrace import bind, span
from somatrace.libraries import LIBRARIES
from somatrace.testing import capture
from tests.support.echo_server import Echo

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


class Own(httpx.BaseTransport):
    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.inner.handle_request(request)


class OwnAsync(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)


class OwnThread(Own):
    """Sends in a thread of the program's own."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self.inner.handle_request, request).result()


class OwnTask(OwnAsync):
    """Sends in another task, as `asyncio.wait_for` does before Python 3.12."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.create_task(self.inner.handle_async_request(request))


class Own2(httpx2.BaseTransport):
    def __init__(self) -> None:
        self.inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.inner.handle_request(request)


class OwnAsync2(httpx2.AsyncBaseTransport):
    def __init__(self) -> None:
        self.inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self.inner.handle_async_request(request)


class OwnAdapter(requests.adapters.HTTPAdapter):
    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(*args, **kwargs)


class OwnClient:
    """Only looks like a client: some libraries accept any object with its methods."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        return self.client.build_request(*args, **kwargs)

    def send(self, request: Any, **_: Any) -> Any:
        return self.client.send(request)

    def close(self) -> None:
        self.client.close()


def stainless(module: str, name: str, **options: Any) -> Call:
    """Clients that Stainless generates."""

    def call(url: str) -> None:
        client: Any = (
            httpx2.Client(transport=Own2()) if name == "Anthropic" else httpx.Client(transport=Own())
        )
        made = getattr(library(module), name)(
            api_key="k.s", base_url=url, max_retries=0, http_client=client, **options
        )
        if name == "Anthropic":
            made.messages.create(model="m", max_tokens=5, messages=USER)
        elif name == "Writer":
            made.chat.chat(model="m", messages=USER)
        else:
            made.chat.completions.create(model="m", messages=USER)

    call.__name__ = name.lower()
    return call


def huggingface_hub(url: str, transport: type[Own] = Own) -> None:
    module = library("huggingface_hub")
    module.set_client_factory(lambda: httpx.Client(transport=transport()))
    try:
        module.InferenceClient(base_url=url, api_key="k").chat_completion(USER, model="m")
    finally:
        module.set_client_factory(library("huggingface_hub.utils._http").default_client_factory)


def huggingface_hub_async(url: str, transport: type[OwnAsync] = OwnAsync) -> None:
    module = library("huggingface_hub")
    module.set_async_client_factory(lambda: httpx.AsyncClient(transport=transport()))
    try:
        client = module.AsyncInferenceClient(base_url=url, api_key="k")
        asyncio.run(client.chat_completion(USER, model="m"))
    finally:
        module.set_async_client_factory(library("huggingface_hub.utils._http").default_async_client_factory)


def in_a_thread(url: str) -> None:
    huggingface_hub(url, OwnThread)


def in_a_task(url: str) -> None:
    huggingface_hub_async(url, OwnTask)


def mistralai(url: str) -> None:
    client = OwnClient(httpx2.Client(transport=Own2()))
    mistral()(api_key="k", server_url=url, client=client).chat.complete(model="m", messages=USER)


def mistralai_async(url: str) -> None:
    client = httpx2.AsyncClient(transport=OwnAsync2())
    model = mistral()(api_key="k", server_url=url, async_client=client)
    asyncio.run(model.chat.complete_async(model="m", messages=USER))


def cohere(url: str) -> None:
    client = httpx.Client(transport=Own())
    library("cohere").ClientV2(api_key="k", base_url=url, httpx_client=client).chat(model="m", messages=USER)


def google_genai(url: str) -> None:
    options = {"base_url": url, "httpx_client": httpx.Client(transport=Own())}
    client = library("google.genai").Client(api_key="k", http_options=options)
    client.models.generate_content(model="m", contents="hi")


def ollama(url: str) -> None:
    library("ollama").Client(host=url, transport=Own()).chat(model="m", messages=USER)


def ollama_async(url: str) -> None:
    client = library("ollama").AsyncClient(host=url, transport=OwnAsync())
    asyncio.run(client.chat(model="m", messages=USER))


def replicate(url: str) -> None:
    library("replicate").Client(api_token="k", base_url=url, transport=Own()).models.list()


def ai21(url: str) -> None:
    client = library("ai21").AI21Client(
        api_key="k", api_host=url, num_retries=0, http_client=httpx.Client(transport=Own())
    )
    message = library("ai21.models.chat").ChatMessage(role="user", content="hi")
    client.chat.completions.create(model="jamba-mini", messages=[message])


def dashscope(url: str) -> None:
    module = library("dashscope")
    library("dashscope.api_entities.http_request")._get_shared_sync_session().mount("http://", OwnAdapter())
    module.Generation.call(model="m", messages=USER, api_key="k", base_address=url)


def litellm(url: str) -> None:
    module = library("litellm")
    handler = library("litellm.llms.custom_httpx.http_handler").HTTPHandler
    client = handler(client=httpx.Client(transport=Own()))
    module.completion(model="ollama_chat/m", messages=USER, api_base=url, num_retries=0, client=client)


def langchain_openai(url: str) -> None:
    model = library("langchain_openai").ChatOpenAI(
        api_key="k", base_url=url, max_retries=0, http_client=httpx.Client(transport=Own())
    )
    model.invoke("hi")


def langchain_mistralai(url: str) -> None:
    model = library("langchain_mistralai").ChatMistralAI(api_key="k", endpoint=url, max_retries=1)
    model.client = httpx.Client(transport=Own(), base_url=url)
    model.invoke("hi")


CALLS: list[Call] = [
    stainless("anthropic", "Anthropic"),
    stainless("cerebras.cloud.sdk", "Cerebras", warm_tcp_connection=False),
    stainless("fireworks", "Fireworks"), stainless("groq", "Groq"), stainless("openai", "OpenAI"),
    stainless("together", "Together"), stainless("writerai", "Writer"), stainless("zhipuai", "ZhipuAI"),
    ai21, cohere, dashscope, google_genai, huggingface_hub, huggingface_hub_async, in_a_task,
    in_a_thread, langchain_mistralai,
    langchain_openai, litellm, mistralai, mistralai_async, ollama, ollama_async, replicate,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings of the libraries, some of whose clients cannot be closed
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_model_server_gets_no_trace_headers_through_a_transport_of_the_program(
    call: Call, echo: Echo
) -> None:
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


def anthropic_tool(function: Callable[[], str]) -> None:
    library("anthropic").beta_tool(function).call({})


def google_genai_tool(function: Callable[[], str]) -> None:
    library("google.genai._extra_utils").invoke_function_from_dict_args({}, function)


def google_genai_async_tool(function: Callable[[], str]) -> None:
    async def tool() -> str:
        return function()

    asyncio.run(library("google.genai._extra_utils").invoke_function_from_dict_args_async({}, tool))


@pytest.mark.slow
@pytest.mark.parametrize("run", [anthropic_tool, google_genai_tool, google_genai_async_tool])
def test_a_tool_that_a_model_client_runs_makes_requests_of_its_own(
    run: Callable[[Callable[[], str]], None], echo: Echo
) -> None:
    def lookup() -> str:
        """Look up."""
        return httpx.get(f"http://localhost:{echo.port}/").text

    with capture(), bind(tenant_id="acme"), span("work"):
        run(lookup)

    assert "x-somatrace-tags" in echo.requests[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "module"),
    [(name.partition(".")[0], name) for row in LIBRARIES for name in row.tool_callers if row.role == "model"],
)
def test_modules_that_call_tools_exist(package: str, module: str) -> None:
    parent = module.rpartition(".")[0]
    library(parent if package == "google" else package)

    assert module in sys.modules or importlib.util.find_spec(module) is not None
