"""Request objects of the program are not changed, however many tasks send the same one at the same time."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest
import requests
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace import bind, span
from somatrace.propagation import tag_header
from somatrace.testing import capture
from tests.support.echo_server import Echo

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed in this environment")

OWNED = {"traceparent", "tracestate", "baggage", "x-somatrace-tags", "x-correlation-id"}
Pairs = list[tuple[str, str]]
#: Sends one shared request once for each tenant, all at the same time, each after as many steps of the event
#: loop as given; returns the positions of the requests at the server, and the headers before and after.
Send = Callable[[str, Pairs, list[str | None], list[int]], tuple[list[int], object, object]]


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def in_threads(send: Callable[[], Any], tenants: list[str | None]) -> list[int]:
    """Call `send` once per tenant, each in a thread of its own."""

    def work(tenant: str | None) -> int:
        with bind(tenant_id=tenant), span("work"):
            return int(send().headers["x-position"])

    with ThreadPoolExecutor(len(tenants)) as pool:
        jobs = [pool.submit(contextvars.copy_context().run, work, tenant) for tenant in tenants]
        return [job.result() for job in jobs]


async def in_tasks(send: Callable[[], Any], tenants: list[str | None], steps: list[int]) -> list[int]:
    """Call `send` once per tenant, each in a task of its own."""

    async def work(tenant: str | None, wait: int) -> int:
        for _ in range(wait):
            await asyncio.sleep(0)
        with bind(tenant_id=tenant), span("work"):
            return int((await send()).headers["x-position"])

    return await asyncio.gather(*(work(*each) for each in zip(tenants, steps, strict=True)))


def by_httpx(url: str, own: Pairs, tenants: list[str | None], steps: list[int]) -> Any:
    with httpx.Client() as client:
        request = client.build_request("GET", url, headers=own)
        before = list(request.headers.raw)
        return in_threads(lambda: client.send(request), tenants), before, list(request.headers.raw)


def by_httpx2(url: str, own: Pairs, tenants: list[str | None], steps: list[int]) -> Any:
    with httpx2.Client() as client:
        request = client.build_request("GET", url, headers=own)
        before = list(request.headers.raw)
        return in_threads(lambda: client.send(request), tenants), before, list(request.headers.raw)


def by_httpx_async(url: str, own: Pairs, tenants: list[str | None], steps: list[int]) -> Any:
    async def run() -> Any:
        async with httpx.AsyncClient() as client:
            request = client.build_request("GET", url, headers=own)
            before = list(request.headers.raw)
            sent = await in_tasks(lambda: client.send(request), tenants, steps)
            return sent, before, list(request.headers.raw)

    return asyncio.run(run())


def by_requests(url: str, own: Pairs, tenants: list[str | None], steps: list[int]) -> Any:
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", url, headers=dict(own)))
        before = list(prepared.headers.items())
        return in_threads(lambda: session.send(prepared), tenants), before, list(prepared.headers.items())


def by_aiohttp(url: str, own: Pairs, tenants: list[str | None], steps: list[int]) -> Any:
    async def run() -> Any:
        headers = pytest.importorskip("multidict").CIMultiDict(own)
        before = list(headers.items())
        async with aiohttp.ClientSession() as session:
            sent = await in_tasks(lambda: session.get(url, headers=headers), tenants, steps)
        return sent, before, list(headers.items())

    return asyncio.run(run())


def by_urllib3(url: str, own: Pairs, tenants: list[str | None], steps: list[int]) -> Any:
    headers = urllib3.HTTPHeaderDict(own)
    before = list(headers.iteritems())
    with urllib3.PoolManager(maxsize=8) as pool:
        sent = in_threads(lambda: pool.request("GET", url, headers=headers), tenants)
    return sent, before, list(headers.iteritems())


CLIENTS: list[Send] = [by_httpx, by_httpx_async, by_httpx2, by_requests, by_aiohttp, by_urllib3]
each_client = pytest.mark.parametrize("send", CLIENTS, ids=lambda client: client.__name__)
#: Names that somatrace writes as well are replaced; those of the program's own leave as they are.
OWN = st.lists(
    st.tuples(
        st.sampled_from(["X-Own", "x-own", "X-OTHER", "Baggage", "TraceParent", "X-Request-ID", "x-Mixed"]),
        st.sampled_from(["1", "2", "a=b"]),
    ),
    max_size=6,
)
TASKS = st.lists(
    st.tuples(st.sampled_from(["acme", "globex", None]), st.integers(0, 3)), min_size=2, max_size=4
)


def tenant_of(sent: dict[str, str]) -> object:
    header = sent.get("x-somatrace-tags")
    return None if header is None else tag_header.decode(tag_header.split(header)[0]).get("tenant_id")


@pytest.mark.slow
@each_client
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=OWN, tasks=TASKS)
def test_tasks_that_share_a_request_send_their_own_tags_only(
    send: Send, own: Pairs, tasks: list[tuple[str | None, int]], echo: Echo
) -> None:
    one_per_name = send in (by_requests, by_aiohttp)
    own = list({name.lower(): (name, value) for name, value in own}.values()) if one_per_name else own
    tenants, steps = [tenant for tenant, _ in tasks], [step for _, step in tasks]
    echo.together = threading.Barrier(len(tasks))

    with capture():
        positions, before, after = send(f"http://localhost:{echo.port}/", own, tenants, steps)

    assert after == before
    kept = [(name, value) for name, value in own if name.lower() not in OWNED]
    names = {name.lower() for name, _ in kept}
    for tenant, position in zip(tenants, positions, strict=True):
        assert tenant_of(echo.requests[position]) == (None if send is by_urllib3 else tenant)
        sent = [pair for pair in echo.lines[position] if pair[0].lower() in names]
        assert by_name(sent, send) == by_name(kept, send)


def by_name(pairs: Pairs, send: Send) -> Pairs:
    """The pairs as the client sends them without tracing: urllib3 groups them by name."""
    if send is not by_urllib3:
        return pairs
    return sorted((name.lower(), value) for name, value in pairs)


@pytest.mark.parametrize("name", ["baggage", b"baggage", b"X-Somatrace-Tags", "X-SOMATRACE-TAGS"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1.external.example"])
def test_trace_headers_are_recognized_in_any_spelling(
    host: str, name: Any, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("somatrace.propagation.trust.is_internal", lambda host: host == "localhost")
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", f"http://127.0.0.1:{echo.port}/"))
        prepared.headers[name] = "planted"
        if host == "localhost":
            prepared.url = f"http://localhost:{echo.port}/"
        with capture(), span("work"):
            session.send(prepared)

    assert "planted" not in str(echo.lines)
    assert prepared.headers[name] == "planted"


def test_a_response_and_an_error_of_requests_hold_the_programs_own_request(echo: Echo) -> None:
    with requests.Session() as session, capture():
        prepared = session.prepare_request(requests.Request("GET", f"http://localhost:{echo.port}/"))
        response = session.send(prepared)
        refused = session.prepare_request(requests.Request("GET", "http://localhost:1/"))
        with pytest.raises(requests.ConnectionError) as caught:
            session.send(refused)

    assert response.request is prepared
    assert caught.value.request is refused
