"""A proxy that is not the program's reads no trace headers of requests to internal hosts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests

from somatrace import bind, propagation, span
from somatrace.config import Settings
from somatrace.testing import capture
from tests.support.echo_server import Echo

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed in this environment")

TRACE_HEADERS = {"traceparent", "tracestate", "baggage", "x-somatrace-tags", "x-correlation-id"}
Get = Callable[[str, str], None]


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the name of an external proxy to this machine, and ask it for each request."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        here = host in ("proxy.external.example", b"proxy.external.example")
        return resolve("127.0.0.1" if here else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def by_httpx(url: str, proxy: str) -> None:
    with httpx.Client(proxy=proxy) as client:
        client.get(url)


def by_httpx_async(url: str, proxy: str) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(proxy=proxy) as client:
            await client.get(url)

    asyncio.run(run())


def by_httpx2(url: str, proxy: str) -> None:
    with httpx2.Client(proxy=proxy) as client:
        client.get(url)


def by_requests(url: str, proxy: str) -> None:
    requests.get(url, proxies={"all": proxy}, timeout=60)


def by_aiohttp(url: str, proxy: str) -> None:
    async def run() -> None:
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url, proxy=proxy):
            pass

    asyncio.run(run())


CLIENTS: list[Get] = [by_httpx, by_httpx_async, by_httpx2, by_requests, by_aiohttp]
each_client = pytest.mark.parametrize("get", CLIENTS, ids=lambda client: client.__name__)


@each_client
def test_an_external_proxy_gets_no_trace_headers_of_a_plain_request_to_an_internal_host(
    get: Get, echo: Echo
) -> None:
    with capture(), bind(tenant_id="acme"), span("work"):
        get("http://slm-service/", f"http://proxy.external.example:{echo.port}")

    (sent,) = echo.requests
    assert not TRACE_HEADERS & sent.keys()


@each_client
def test_an_internal_proxy_passes_them_on(get: Get, echo: Echo) -> None:
    with capture(), bind(tenant_id="acme"), span("work"):
        get("http://slm-service/", f"http://localhost:{echo.port}")

    (sent,) = echo.requests
    assert {"traceparent", "x-somatrace-tags"} <= sent.keys()


def test_an_external_proxy_on_the_list_passes_them_on(echo: Echo) -> None:
    with capture(), bind(tenant_id="acme"), span("work"):
        propagation.configure(Settings(propagate_to=("proxy.external.example",)))
        by_httpx("http://slm-service/", f"http://proxy.external.example:{echo.port}")
        propagation.configure(Settings())

    assert "x-somatrace-tags" in echo.requests[0]


@each_client
def test_a_request_for_a_tunnel_has_no_trace_headers(get: Get, echo: Echo) -> None:
    with capture(), bind(tenant_id="acme"), span("work"), pytest.raises(Exception):  # noqa: B017, PT011
        get("https://slm-service/", f"http://localhost:{echo.port}")  # the proxy does not speak TLS

    assert echo.requests
    for sent in echo.requests:
        assert not TRACE_HEADERS & sent.keys()
