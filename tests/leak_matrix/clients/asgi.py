"""starlette and fastapi: secrets in request URLs, headers and bodies, and failing handlers."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from starlette.responses import PlainTextResponse, Response

from somatrace import bind
from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import TENANTS, case

planted: list[Planted] = []
app = FastAPI()


@app.post("/customers/{name}")
async def customers(name: str, request: Request) -> Response:
    c = planted[-1]
    with bind(tenant_id=TENANTS[c.tenant]):
        if name.startswith("fail"):
            raise RuntimeError(f"{c('error')} {await request.body()!r} {request.url}")
        if name.startswith("refuse"):
            raise HTTPException(422, c("detail"))
    return PlainTextResponse(c("answer"), headers={"x-customer": c.word("answer header")})


def _serve() -> str:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True).start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


url = _serve()


def ask(c: Planted, path: str) -> None:
    planted.append(c)
    headers = {
        "authorization": f"Bearer {c.key('header')}",
        "cookie": f"session={c.word('cookie')}",
        "user-agent": c.word("agent"),
        "tracestate": f"vendor={c.word('tracestate')}",
        "baggage": f"customer={c.word('baggage')}",
        "x-correlation-id": c.email("correlation"),
    }
    httpx.post(
        f"{url}{path}?token={c.key('query')}&q={c.word('query')}",
        headers=headers,
        content=c("body"),
        timeout=60,
    )


@case()
def requests_with_secrets(c: Planted) -> None:
    ask(c, f"/customers/{c.word('path')}")


@case()
def handlers_that_fail(c: Planted) -> None:
    ask(c, f"/customers/fail-{c.word('path')}")


@case()
def answers_that_refuse(c: Planted) -> None:
    ask(c, f"/customers/refuse-{c.word('path')}")


@case()
def paths_without_a_route(c: Planted) -> None:
    ask(c, f"/{c.word('path')}/{c.email('path')}")
