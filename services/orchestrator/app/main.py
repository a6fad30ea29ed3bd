"""Plan an answer with LiteLLM, call a tool, retrieve passages and have the answer written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import litellm
import openai
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from app.tools import DEFINITIONS, ToolError, run_tool
from somatrace import content, event, fail, init_tracing, span

init_tracing("orchestrator")

MODEL = "openai/local-extractive"
MODEL_URL = os.environ.get("MODEL_URL", "http://127.0.0.1:8400/v1")
MODEL_KEY = os.environ.get("MODEL_KEY", "local")
RECALL_URL = os.environ.get("RECALL_URL", "http://127.0.0.1:8412")
SLM_URL = os.environ.get("SLM_URL", "http://127.0.0.1:8413")
PASSAGES = 3


class Run(BaseModel):
    question: str = Field(min_length=1, max_length=2_000)
    stream: bool = False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with (
        httpx.AsyncClient(base_url=RECALL_URL, timeout=20) as recall,
        httpx.AsyncClient(base_url=SLM_URL, timeout=30) as writer,
    ):
        app.state.recall, app.state.writer = recall, writer
        yield


app = FastAPI(title="orchestrator", lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.exception_handler(ToolError)
async def tool_failed(_: Request, error: ToolError) -> JSONResponse:
    return JSONResponse({"detail": {"code": error.code, "message": str(error)}}, error.status)


@app.exception_handler(httpx.HTTPError)
async def dependency_failed(_: Request, __: httpx.HTTPError) -> JSONResponse:
    return JSONResponse({"detail": {"code": "neighbour_unreachable", "message": "try again"}}, 502)


@app.exception_handler(openai.OpenAIError)
async def planning_failed(_: Request, __: openai.OpenAIError) -> JSONResponse:
    """Handle LiteLLM's errors, which derive from OpenAI's."""
    return JSONResponse({"detail": {"code": "planning_failed", "message": "try again"}}, 503)


@app.post("/run")
async def run(wanted: Run) -> Response:
    with span("prepare-answer", kind="agent"):
        facts = await consult_tool(wanted.question)
        passages = await recall(wanted.question)
    body = {"question": wanted.question, "facts": facts, "passages": passages, "stream": wanted.stream}
    writer: httpx.AsyncClient = app.state.writer
    answer = await writer.send(writer.build_request("POST", "/answer", json=body), stream=True)
    if wanted.stream and answer.is_success:
        return StreamingResponse(relay(answer), media_type="text/event-stream")
    try:
        return Response(await answer.aread(), answer.status_code, media_type="application/json")
    finally:
        await answer.aclose()


async def relay(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


async def consult_tool(question: str) -> str:
    """The result of the tool selected by the plan; empty if none was selected."""
    with span("plan"):
        plan = await litellm.acompletion(
            model=MODEL,
            api_base=MODEL_URL,
            api_key=MODEL_KEY,
            messages=[
                {"role": "system", "content": "Choose the tool that the question needs, or none."},
                {"role": "user", "content": question},
            ],
            # with `tools=`, litellm 1.106 imports its MCP gateway, which requires mcp 2
            extra_body={"tools": DEFINITIONS},
            max_tokens=60,
        )
        calls = plan.choices[0].message.tool_calls or []
    event("plan.made", tool=calls[0].function.name if calls else "none")
    return use_tool(calls[0].function.name, calls[0].function.arguments) if calls else ""


def use_tool(name: str, arguments: str) -> str:
    with span(name, kind="tool"):
        content(input=arguments)
        try:
            result = run_tool(name, arguments)
        except ToolError as error:
            fail(error.code, str(error), retryable=False)
            raise
        content(output=result)
        event("tool.completed", tool=name)
        return result


async def recall(question: str) -> list[str]:
    """Passages from recall-service that may contain the answer."""
    answer = await app.state.recall.post("/search", json={"query": question, "top": PASSAGES})
    if answer.is_error:
        raise HTTPException(502, {"code": "recall_failed", "message": "recall-service could not search"})
    return [passage["text"] for passage in answer.json()["passages"]]
