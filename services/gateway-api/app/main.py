"""Public API: authenticate callers by key, bind their tags and forward questions to the orchestrator."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import httpx
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from app.callers import Callers
from somatrace import bind, event, fail, init_tracing, span

init_tracing("gateway-api")

ORCHESTRATOR_URL = os.environ.get("ORCHESTRATOR_URL", "http://127.0.0.1:8411")
CALLERS = Callers.read(os.environ.get("TENANTS_FILE", "tenants.toml"))

Workflow = Literal["support-answer", "order-status", "price-quote"]


class Asked(BaseModel):
    """A caller's question. It does not identify the caller."""

    question: str = Field(min_length=1, max_length=2_000)
    stream: bool = False
    session_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=ORCHESTRATOR_URL, timeout=30) as client:
        app.state.orchestrator = client
        yield


app = FastAPI(title="gateway-api", lifespan=lifespan)


def caller(authorization: Annotated[str, Header()] = "") -> str:
    """The tenant of the given key. No other header can select a tenant."""
    tenant = CALLERS.tenant(authorization)
    if tenant is None:
        raise HTTPException(401, {"code": "unknown_key", "message": "send a known key as a bearer token"})
    return tenant


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/workflows/{workflow}")
async def run(workflow: Workflow, asked: Asked, tenant: Annotated[str, Depends(caller)]) -> Response:
    tags = {"tenant_id": tenant, "workflow_name": workflow, "correlation_id": uuid.uuid4().hex}
    if asked.session_id:
        tags["session_id"] = asked.session_id
    if asked.stream:
        return StreamingResponse(streamed(tags, asked), media_type="text/event-stream")
    with bind(**tags), span(workflow, kind="workflow"):
        try:
            answer = await app.state.orchestrator.post("/run", json=asked.model_dump())
        except httpx.HTTPError:
            fail("orchestrator_unreachable", retryable=True)
            raise HTTPException(502, {"code": "orchestrator_unreachable", "message": "try again"}) from None
        if answer.is_error:
            report(answer)
    return Response(answer.content, answer.status_code, media_type="application/json")


async def streamed(tags: dict[str, str], asked: Asked) -> AsyncIterator[bytes]:
    """Forward the orchestrator's events; the workflow span ends with the last one."""
    client: httpx.AsyncClient = app.state.orchestrator
    with bind(**tags), span(tags["workflow_name"], kind="workflow"):
        try:
            async with client.stream("POST", "/run", json=asked.model_dump()) as answer:
                if answer.is_error:
                    await answer.aread()
                    yield failed(answer.status_code, report(answer))
                    return
                event("stream.started")
                async for part in answer.aiter_raw():
                    yield part
        except httpx.HTTPError:
            fail("stream_broken", retryable=True)
            yield failed(502, "stream_broken")


def report(answer: httpx.Response) -> str:
    """Record the failure in the trace and return its code."""
    try:
        code = str(answer.json()["detail"]["code"])
    except (ValueError, KeyError, TypeError):
        code = f"http_{answer.status_code}"
    fail(code, f"the orchestrator answered {answer.status_code}", retryable=answer.status_code >= 500)
    return code


def failed(status: int, code: str) -> bytes:
    """The event that ends a failed stream, whose HTTP status was sent before the failure."""
    return f"event: error\ndata: {json.dumps({'status': status, 'code': code})}\n\n".encode()
