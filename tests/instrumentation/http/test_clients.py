"""Each request of httpx, requests and aiohttp is one span; only allowed hosts get trace headers."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Iterator

import httpx
import httpx2
import pytest
import requests
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode

from somatrace import bind, init_tracing, propagation, span
from somatrace.config import Settings
from somatrace.testing import capture
from tests.support.echo_server import Echo
from tests.support.ports import refusing_port

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed in this environment")

TRACE_HEADERS = ("traceparent", "tracestate", "baggage", "x-somatrace-tags")


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the name of an external host to this machine."""
    resolve = socket.getaddrinfo

    def resolve_here(host, *args, **kwargs):
        return resolve(
            "127.0.0.1" if host in ("api.external.example", b"api.external.example") else host,
            *args,
            **kwargs,
        )

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


@pytest.fixture
def rules():
    with capture():
        pass

    def configure(**settings: object) -> None:
        propagation.configure(Settings(**settings))

    yield configure
    configure()


def by_httpx(url: str, headers: dict[str, str] | None = None) -> int:
    with httpx.Client(follow_redirects=True) as client:
        return client.get(url, headers=headers).status_code


def by_httpx_async(url: str, headers: dict[str, str] | None = None) -> int:
    async def run() -> int:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            return (await client.get(url, headers=headers)).status_code

    return asyncio.run(run())


def by_httpx2(url: str, headers: dict[str, str] | None = None) -> int:
    with httpx2.Client(follow_redirects=True) as client:
        return client.get(url, headers=headers).status_code


def by_requests(url: str, headers: dict[str, str] | None = None) -> int:
    return requests.get(url, headers=headers, timeout=60).status_code


def by_aiohttp(url: str, headers: dict[str, str] | None = None) -> int:
    async def run() -> int:
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers=headers) as answer,
        ):
            return answer.status

    return asyncio.run(run())


CLIENTS = [by_httpx, by_httpx_async, by_httpx2, by_requests, by_aiohttp]
each_client = pytest.mark.parametrize("get", CLIENTS, ids=lambda client: client.__name__)


def clients(seen):
    return [found for found in seen.spans if found.kind is SpanKind.CLIENT]


@each_client
def test_a_request_is_one_client_span_with_its_server_but_not_its_path(get, echo: Echo) -> None:
    with capture() as seen, span("caller"):
        assert get(f"http://localhost:{echo.port}/secret/path?q=secret") == 200
    (request_span,) = clients(seen)
    assert request_span.name == "GET"
    assert request_span.attributes["http.request.method"] == "GET"
    assert request_span.attributes["server.address"] == "localhost"
    assert request_span.attributes["server.port"] == echo.port
    assert request_span.attributes["http.response.status_code"] == 200
    assert request_span.parent.span_id == seen.named("caller").context.span_id
    assert b"secret" not in seen.bytes


@each_client
def test_an_allowed_host_gets_trace_tags_and_baggage(get, echo: Echo) -> None:
    token = otel_context.attach(baggage.set_baggage("plan", "gold"))
    with capture() as seen, bind(tenant_id="acme", correlation_id="c-1", request_id="r-1"):
        get(f"http://127.0.0.1:{echo.port}/")
    otel_context.detach(token)
    (sent,) = echo.requests
    (request_span,) = clients(seen)
    assert sent["traceparent"].split("-")[1:3] == [
        f"{request_span.context.trace_id:032x}",
        f"{request_span.context.span_id:016x}",
    ]
    assert sent["baggage"] == "plan=gold"
    assert sent["x-correlation-id"] == "c-1"
    assert sent["x-request-id"] == "r-1"
    with propagation.incoming(sent, peer="10.0.0.1", trust=["10.0.0.1"]):
        from somatrace import bound

        assert bound() == {"tenant_id": "acme", "correlation_id": "c-1", "request_id": "r-1"}


@each_client
def test_other_hosts_get_no_trace_headers_and_existing_ones_are_removed(get, echo: Echo) -> None:
    planted = dict.fromkeys(TRACE_HEADERS, "planted")
    with capture() as seen, bind(tenant_id="acme", correlation_id="c-1"):
        get(f"http://api.external.example:{echo.port}/", {**planted, "x-own": "kept"})
    (sent,) = echo.requests
    assert not {*TRACE_HEADERS, "x-correlation-id"} & sent.keys()
    assert sent["x-own"] == "kept"
    assert len(clients(seen)) == 1


@each_client
def test_each_hop_of_a_redirect_is_checked_separately(get, echo: Echo) -> None:
    with capture(), bind(tenant_id="acme", correlation_id="c-1"):
        get(f"http://localhost:{echo.port}/to/http://api.external.example:{echo.port}/")
    first, second = echo.requests
    assert {"traceparent", "x-somatrace-tags", "x-correlation-id"} <= first.keys()
    assert not set(TRACE_HEADERS) & second.keys()


@each_client
def test_an_external_host_on_the_list_gets_tags(get, echo: Echo, rules) -> None:
    rules(propagate_to=("*.external.example",))
    with capture(), bind(tenant_id="acme"):
        get(f"http://api.external.example:{echo.port}/")
    assert "x-somatrace-tags" in echo.requests[0]


@each_client
def test_an_llm_clients_request_has_no_span_and_no_trace_headers_for_any_host(get, echo: Echo) -> None:
    url = f"http://localhost:{echo.port}/"
    planted = dict.fromkeys(TRACE_HEADERS, "planted")
    llm = trace.get_tracer("opentelemetry.instrumentation.openai.v1")
    with capture() as seen, bind(tenant_id="acme"):
        with llm.start_as_current_span("openai.chat"):
            get(url, planted)
        with trace.get_tracer("x").start_as_current_span(
            "by hand", attributes={"gen_ai.operation.name": "chat"}
        ):
            get(url, planted)
        with span("answer", kind="llm"):
            get(url, planted)
        with suppress_instrumentation():
            get(url, planted)
    assert clients(seen) == []
    assert len(echo.requests) == 4
    for sent in echo.requests:
        assert not set(TRACE_HEADERS) & sent.keys()


@each_client
def test_unsampled_model_calls_send_no_trace_headers_either(get, echo: Echo) -> None:
    url = f"http://localhost:{echo.port}/"
    llm = trace.get_tracer("opentelemetry.instrumentation.ollama")
    unsampled = trace.set_span_in_context(NonRecordingSpan(SpanContext(7, 7, is_remote=True)))
    token = otel_context.attach(unsampled)
    with capture() as seen, bind(tenant_id="acme"), span("work", kind="workflow"):
        with llm.start_as_current_span("ollama.chat"):
            get(url)
        with trace.get_tracer("x").start_as_current_span("x", attributes={"gen_ai.operation.name": "chat"}):
            get(url)
        with span("answer", kind="llm"):
            get(url)
        with span("vector", kind="embedding"):
            get(url)
        get(url)
    otel_context.detach(token)
    assert seen.spans == []
    *model_calls, other = echo.requests
    assert len(model_calls) == 4
    for sent in model_calls:
        assert not set(TRACE_HEADERS) & sent.keys()
    assert "x-somatrace-tags" in other


@each_client
def test_a_step_inside_a_model_call_is_part_of_it_but_a_tool_is_not(get, echo: Echo) -> None:
    url = f"http://localhost:{echo.port}/"
    with capture(), bind(tenant_id="acme"), span("answer", kind="llm"):
        with span("attempt"):
            get(url)
        with span("look-up", kind="tool"), span("read"):
            get(url)
    step, tool = echo.requests
    assert not set(TRACE_HEADERS) & step.keys()
    assert "x-somatrace-tags" in tool


@each_client
def test_requests_of_tools_and_agents_are_not_llm_calls(get, echo: Echo) -> None:
    with capture() as seen, bind(tenant_id="acme"), span("a", kind="agent"), span("t", kind="tool"):
        get(f"http://localhost:{echo.port}/")
    assert len(clients(seen)) == 1
    assert "x-somatrace-tags" in echo.requests[0]


@each_client
def test_an_error_response_sets_the_error_type_to_its_status(get, echo: Echo) -> None:
    echo.status = 503
    with capture() as seen:
        assert get(f"http://localhost:{echo.port}/") == 503
    (request_span,) = clients(seen)
    assert request_span.attributes["error.type"] == "503"
    assert request_span.status.status_code is StatusCode.ERROR


@each_client
def test_an_exception_propagates_unchanged_and_only_its_type_is_recorded(get) -> None:
    failing = pytest.raises(Exception)  # noqa: PT011 - the class depends on the library
    with refusing_port() as port, capture() as seen, failing as caught:
        get(f"http://localhost:{port}/secret")
    (request_span,) = clients(seen)
    kind = type(caught.value)
    assert request_span.attributes["error.type"] == f"{kind.__module__}.{kind.__qualname__}"
    assert b"secret" not in seen.bytes


def test_the_programs_request_object_keeps_its_headers() -> None:
    server = Echo()
    with capture(), bind(tenant_id="acme"), httpx.Client() as client:
        request = client.build_request(
            "GET", f"http://localhost:{server.port}/", headers={"traceparent": "mine"}
        )
        client.send(request)
        prepared = requests.get(f"http://localhost:{server.port}/", timeout=60).request
    server.close()
    assert request.headers["traceparent"] == "mine"
    assert "x-somatrace-tags" not in request.headers
    assert not set(TRACE_HEADERS) & {name.lower() for name in prepared.headers}
    assert all("x-somatrace-tags" in sent for sent in server.requests)


def test_a_malformed_url_fails_as_without_tracing() -> None:
    with capture():
        with pytest.raises(requests.exceptions.InvalidURL):
            requests.get("http://[::1/", timeout=1)
        with pytest.raises(httpx.UnsupportedProtocol):
            httpx.get("nothing://x")
        with pytest.raises(aiohttp.InvalidURL):
            by_aiohttp("http://")


def test_real_llm_clients_send_no_trace_headers_even_to_a_local_provider(echo: Echo) -> None:
    import anthropic
    import openai

    url = f"http://localhost:{echo.port}"
    with capture() as seen, bind(tenant_id="acme"), span("work"):
        for call in (
            lambda: openai.OpenAI(api_key="k", base_url=url, max_retries=0).chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}]
            ),
            lambda: anthropic.Anthropic(api_key="k", base_url=url, max_retries=0).messages.create(
                model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}]
            ),
        ):
            try:
                call()
            except Exception:  # the response is empty
                pass
    assert len(echo.requests) == 2
    for sent in echo.requests:
        assert not set(TRACE_HEADERS) & sent.keys()
    assert not [
        found for found in seen.spans if found.instrumentation_scope.name.startswith("somatrace.http")
    ]


def test_a_reload_of_httpx_and_a_second_init_change_nothing(echo):
    with capture() as seen, bind(tenant_id="acme"), span("outer"):
        importlib.reload(httpx)
        init_tracing("again")
        by_httpx(f"http://127.0.0.1:{echo.port}/")
        by_httpx_async(f"http://127.0.0.1:{echo.port}/")

    assert sorted(one.name for one in seen.spans) == ["GET", "GET", "outer"]
    names = [[name.lower() for name, _ in lines] for lines in echo.lines]
    assert [found.count("traceparent") for found in names] == [1, 1]
