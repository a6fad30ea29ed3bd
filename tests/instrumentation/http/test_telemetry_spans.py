"""Requests that carry telemetry are no spans either where OpenTelemetry's own HTTP instrumentations trace."""

from __future__ import annotations

import asyncio
import importlib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import httpx
import pytest
import requests
import urllib3

from somatrace import span, status
from somatrace.config import Target
from somatrace.instrumentation.http.telemetry_requests import set_target
from somatrace.testing import capture
from tests.support.echo_server import Echo


def by_httpx(url: str) -> None:
    with httpx.Client() as client:
        client.get(url)


def by_httpx_async(url: str) -> None:
    async def run() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(url)

    asyncio.run(run())


def by_requests(url: str) -> None:
    requests.get(url, timeout=60)


def by_urllib3(url: str) -> None:
    urllib3.PoolManager().request("GET", url)


def by_urllib(url: str) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer:
        answer.read()


def by_aiohttp(url: str) -> None:
    aiohttp = importlib.import_module("aiohttp")

    async def run() -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.read()

    asyncio.run(run())


def by_tornado(url: str) -> None:
    client = importlib.import_module("tornado.httpclient")

    async def run() -> None:
        await client.AsyncHTTPClient(force_instance=True).fetch(url)

    asyncio.run(run())


class Traced(NamedTuple):
    """A client, and OpenTelemetry's instrumentation of it."""

    get: Callable[[str], None]
    module: str
    instrumentor: str


TRACED = [
    Traced(by_httpx, "httpx", "HTTPXClientInstrumentor"),
    Traced(by_httpx_async, "httpx", "HTTPXClientInstrumentor"),
    Traced(by_requests, "requests", "RequestsInstrumentor"),
    Traced(by_urllib3, "urllib3", "URLLib3Instrumentor"),
    Traced(by_urllib, "urllib", "URLLibInstrumentor"),
    Traced(by_aiohttp, "aiohttp_client", "AioHttpClientInstrumentor"),
    Traced(by_tornado, "tornado", "TornadoInstrumentor"),
]


@pytest.fixture(autouse=True)
def _no_target_afterwards() -> Iterator[None]:
    with capture():
        pass
    yield
    set_target(Target("none"))


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture(params=TRACED, ids=lambda traced: traced.get.__name__)
def get(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """A client that OpenTelemetry instruments."""
    traced: Traced = request.param
    module = pytest.importorskip(
        f"opentelemetry.instrumentation.{traced.module}", reason="the instrumentation is not installed"
    )
    if traced.module in ("aiohttp_client", "tornado"):
        pytest.importorskip(traced.module.partition("_")[0], reason="the client is not installed")
    with instrumented(getattr(module, traced.instrumentor)()):
        yield traced.get


@contextmanager
def instrumented(instrumentor: Any) -> Iterator[None]:
    instrumentor.instrument(skip_dep_check=True)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def langfuse_at(echo: Echo) -> str:
    set_target(Target("langfuse", f"http://127.0.0.1:{echo.port}/api/public/otel/v1/traces"))
    return f"http://127.0.0.1:{echo.port}"


def test_a_request_to_the_target_is_no_span(get, echo: Echo) -> None:
    server = langfuse_at(echo)

    with capture() as seen, span("caller"):
        get(f"{server}/api/public/v2/prompts/movie")

    assert echo.requests
    assert [found.name for found in seen.spans] == ["caller"]


def test_a_request_to_the_target_is_no_trace_of_its_own(get, echo: Echo) -> None:
    server = langfuse_at(echo)
    before = status().created

    with capture() as seen:
        get(f"{server}/api/public/projects")

    assert seen.spans == []
    assert status().created == before


def test_a_request_to_another_path_of_the_targets_server_is_one_span(get, echo: Echo) -> None:
    server = langfuse_at(echo)

    with capture() as seen, span("caller"):
        get(f"{server}/orders/7")

    assert len(seen.spans) == 2


def test_a_request_to_another_port_of_the_targets_host_is_one_span(get, echo: Echo) -> None:
    set_target(Target("langfuse", "http://127.0.0.1:3000/api/public/otel/v1/traces"))

    with capture() as seen, span("caller"):
        get(f"http://127.0.0.1:{echo.port}/api/public/projects")

    assert len(seen.spans) == 2


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/v1/logs"])
def test_each_signal_of_an_otlp_target_is_no_span(get, echo: Echo, path: str) -> None:
    set_target(Target("otlp", f"http://127.0.0.1:{echo.port}/v1/traces"))

    with capture() as seen:
        get(f"http://127.0.0.1:{echo.port}{path}")

    assert seen.spans == []


def test_the_target_behind_a_gateway_is_told_from_the_services_beside_it(get, echo: Echo) -> None:
    server = f"http://127.0.0.1:{echo.port}"
    set_target(Target("langfuse", f"{server}/langfuse/api/public/otel/v1/traces"))

    with capture() as seen, span("caller"):
        get(f"{server}/langfuse/api/public/projects")
        get(f"{server}/api/public/projects")

    assert len(seen.spans) == 2


def test_a_span_inside_such_a_request_is_a_child_of_the_span_around_it(echo: Echo) -> None:
    server = langfuse_at(echo)
    module = pytest.importorskip("opentelemetry.instrumentation.httpx")

    class Transport(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            with span("own transport"):
                return super().handle_request(request)

    client = httpx.Client(transport=Transport())
    module.HTTPXClientInstrumentor.instrument_client(client)

    with capture() as seen:
        with span("caller"):
            client.get(f"{server}/api/public/projects")
        client.get(f"{server}/api/public/projects")

    below, caller, alone = seen.spans
    assert [found.name for found in seen.spans] == ["own transport", "caller", "own transport"]
    assert below.parent.span_id == caller.context.span_id
    assert alone.parent is None


def test_envelopes_of_the_sentry_sdk_are_no_spans(echo: Echo) -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk")
    module = pytest.importorskip("opentelemetry.instrumentation.urllib3")
    client = sentry_sdk.Client(f"http://key@127.0.0.1:{echo.port}/1", default_integrations=False)

    with instrumented(module.URLLib3Instrumentor()), capture() as seen:
        client.capture_event({"message": "broken"})
        client.flush(60)
    client.close(60)

    assert echo.requests
    assert seen.spans == []


def test_requests_of_the_program_that_the_sentry_sdk_wraps_are_spans(echo: Echo) -> None:
    integration = pytest.importorskip("sentry_sdk.integrations.httpx")
    send = httpx.Client.send
    integration._install_httpx_client()

    try:
        with capture() as seen:
            by_httpx(f"http://127.0.0.1:{echo.port}/")
    finally:
        httpx.Client.send = send

    assert [found.name for found in seen.spans] == ["GET"]


def test_requests_of_langsmith_are_no_spans(echo: Echo) -> None:
    langsmith = pytest.importorskip("langsmith")
    module = pytest.importorskip("opentelemetry.instrumentation.requests")
    client = langsmith.Client(f"http://127.0.0.1:{echo.port}", api_key="key", auto_batch_tracing=False)

    with instrumented(module.RequestsInstrumentor()), capture() as seen, suppress(Exception):
        client.read_project(project_name="movies")

    assert echo.requests
    assert seen.spans == []
