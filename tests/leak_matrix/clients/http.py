"""httpx, requests, urllib3 and aiohttp: secrets in URLs, headers, bodies, responses and failures."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from somatrace import span
from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing, provider

CLOSED = "http://127.0.0.1:9"


def urls(c: Planted) -> Iterator[str]:
    host = provider.url.removeprefix("http://")
    for status in (200, 302, 401, 404, 500):
        path = f"/web/{status}/{c.word('path')}/{c.email('path')}"
        query = f"token={c.key('query')}&q={c.word('query')}"
        yield f"http://{c.word('login')}:{c.key('password')}@{host}{path}?{query}#{c.word('fragment')}"


def headers(c: Planted) -> dict[str, str]:
    return {"authorization": f"Bearer {c.key('header')}", "cookie": c.word("cookie"), "x-a": c.word("header")}


@case()
def of_httpx(c: Planted) -> None:
    for url in urls(c):
        httpx.post(url, headers=headers(c), content=c("body"), follow_redirects=True, timeout=60)
    with failing():
        httpx.get(
            f"{provider.url}/web/401/{c.word('path')}?token={c.key('query')}", timeout=60
        ).raise_for_status()
    for base in (CLOSED, f"{provider.url}/web/0"):
        with failing():
            httpx.get(f"{base}/{c.word('path')}?token={c.key('query')}", timeout=60)


@case()
async def of_asynchronous_httpx(c: Planted) -> None:
    async with httpx.AsyncClient(headers=headers(c), timeout=60) as client:
        for url in urls(c):
            await client.post(url, content=c("body"))
        with failing():
            await client.get(f"{CLOSED}/{c.word('path')}?token={c.key('query')}")


@case()
def of_requests(c: Planted) -> None:
    for url in urls(c):
        requests.post(url, headers=headers(c), data=c("body").encode(), timeout=60)
    with failing():
        found = requests.get(f"{provider.url}/web/401/{c.word('path')}?t={c.key('query')}", timeout=60)
        found.raise_for_status()
    for base in (CLOSED, f"{provider.url}/web/0"):
        with failing():
            requests.get(f"{base}/{c.word('path')}?token={c.key('query')}", timeout=60)


@case()
def of_urllib3(c: Planted) -> None:
    pool = urllib3.PoolManager(retries=False)
    for url in urls(c):
        pool.request("POST", url, headers=headers(c), body=c("body").encode())
    with failing():
        pool.request("GET", f"{CLOSED}/{c.word('path')}?token={c.key('query')}")


@case()
async def of_aiohttp(c: Planted) -> None:
    sent = {name: value for name, value in headers(c).items() if name != "authorization"}  # or in the URL
    async with aiohttp.ClientSession(headers=sent) as session:
        for url in urls(c):
            async with session.post(url, data=c("body")):
                pass
        with failing():
            await session.get(f"{CLOSED}/{c.word('path')}?token={c.key('query')}")


@case()
def in_a_failing_span(c: Planted) -> None:
    with failing(), span("fetch", kind="tool"):
        httpx.get(
            f"{provider.url}/web/401/{c.word('path')}?token={c.key('query')}", timeout=60
        ).raise_for_status()
    with failing(), span("fetch", kind="tool"):
        requests.get(f"{CLOSED}/{c.word('path')}?token={c.key('query')}", timeout=60)


@case()
def of_the_programs_own_instrumentors(c: Planted) -> None:
    instrumentors = HTTPXClientInstrumentor(), RequestsInstrumentor()
    for one in instrumentors:
        one.instrument()
    try:
        of_httpx(c)
        of_requests(c)
    finally:
        for one in instrumentors:
            one.uninstrument()


@case()
def with_baggage(c: Planted) -> None:
    token = otel_context.attach(baggage.set_baggage("customer", c.word("baggage")))
    try:
        httpx.get(f"{provider.url}/web/200/next", timeout=60)
    finally:
        otel_context.detach(token)
