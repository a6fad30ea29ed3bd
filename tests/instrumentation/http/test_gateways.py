"""A service that sends its callers' headers on sends none of an untrusted caller's as its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.request import Request, urlopen

import httpx
import pytest
import requests

from somatrace import bind, propagation
from somatrace.config import Settings
from somatrace.context.tags import Tags
from somatrace.propagation import tag_header
from somatrace.testing import capture
from tests.support.echo_server import Echo
from tests.support.web import serving

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed in this environment")
fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed in this environment")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FORGED = {
    "traceparent": f"00-{TRACE}-00f067aa0ba902b7-00",
    "tracestate": "vendor=forged",
    "baggage": "plan=forged",
    "x-somatrace-tags": tag_header.join(tag_header.encode(Tags({"tenant_id": "forged"}))[0], None),
    "x-correlation-id": "forged",
    "x-request-id": "forged",
    "x-own": "kept",
}
Forward = Callable[[str, Mapping[str, str]], object]


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def rules() -> Iterator[Callable[..., None]]:
    with capture():
        pass

    def configure(**settings: object) -> None:
        propagation.configure(Settings(**settings))  # type: ignore[arg-type]

    yield configure
    configure()


def by_httpx(url: str, headers: Mapping[str, str]) -> object:
    return httpx.get(url, headers=headers)


def by_requests(url: str, headers: Mapping[str, str]) -> object:
    return requests.get(url, headers=dict(headers), timeout=60)


def by_aiohttp(url: str, headers: Mapping[str, str]) -> object:
    async def run() -> None:
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers):
            pass

    return asyncio.run(run())


CLIENTS: list[Forward] = [by_httpx, by_requests, by_aiohttp]
each_client = pytest.mark.parametrize("forward", CLIENTS, ids=lambda client: client.__name__)


def through_a_gateway(forward: Forward, echo: Echo, headers: dict[str, str]) -> dict[str, str]:
    """The headers that the inner service gets."""
    app = fastapi.FastAPI()

    def gateway(request: Any) -> None:
        forward(f"http://localhost:{echo.port}/", request.headers)

    gateway.__annotations__ = {"request": fastapi.Request}
    app.get("/")(gateway)
    with serving(app) as url:
        urlopen(Request(url, headers=headers), timeout=60).close()
    (sent,) = echo.requests
    return sent


@each_client
def test_headers_of_an_untrusted_caller_are_replaced(forward: Forward, echo: Echo, rules: Any) -> None:
    rules()

    sent = through_a_gateway(forward, echo, FORGED)

    assert sent["x-own"] == "kept"
    assert "baggage" not in sent
    assert "x-request-id" not in sent
    assert sent["x-correlation-id"] != "forged"
    assert sent["traceparent"].split("-")[1] == TRACE
    assert sent["traceparent"].split("-")[2] != FORGED["traceparent"].split("-")[2]
    assert "tenant_id" not in tag_header.decode(tag_header.split(sent["x-somatrace-tags"])[0])


@each_client
def test_without_propagators_they_are_removed(forward: Forward, echo: Echo, rules: Any) -> None:
    rules(propagators=())

    sent = through_a_gateway(forward, echo, FORGED)

    assert not {"traceparent", "tracestate", "baggage", "x-request-id"} & sent.keys()
    assert "forged" not in sent.values()


@each_client
def test_a_trusted_callers_ids_are_passed_on(forward: Forward, echo: Echo, rules: Any) -> None:
    rules(trust=("127.0.0.0/8",))

    sent = through_a_gateway(forward, echo, {"x-correlation-id": "c-1", "x-request-id": "r-1"})

    assert sent["x-correlation-id"] == "c-1"
    assert sent["x-request-id"] == "r-1"


def test_a_repeated_id_of_an_untrusted_caller_is_removed_in_each_form(echo: Echo, rules: Any) -> None:
    rules()
    pairs = [("x-request-id", "one"), ("x-request-id", "two"), ("x-own", "kept")]
    with propagation.incoming(pairs):
        httpx.get(f"http://localhost:{echo.port}/", headers=pairs)
        httpx.get(f"http://localhost:{echo.port}/", headers=dict(pairs))

    for sent in echo.requests:
        assert "x-request-id" not in sent
        assert sent["x-own"] == "kept"


def test_ids_that_the_program_sets_itself_are_sent_as_they_are(echo: Echo, rules: Any) -> None:
    rules()
    with propagation.incoming({"x-request-id": "theirs"}), bind(request_id="bound"):
        httpx.get(f"http://localhost:{echo.port}/", headers={"X-Request-ID": "mine"})

    assert ("X-Request-ID", "mine") in echo.lines[0]
    assert "bound" not in echo.requests[0].values()
