"""Write answers with a small language model through the OpenAI client, at once or streamed."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import openai
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse, Response, StreamingResponse
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel, Field

from somatrace import event, fail, init_tracing, span

init_tracing("slm-service")

MODEL_URL = os.environ.get("MODEL_URL", "http://127.0.0.1:8400/v1")
MODEL_KEY = os.environ.get("MODEL_KEY", "local")
MODEL = "local-extractive"
#: Keyword in the question -> model to try first. One returns 429, the other fails.
MODELS_BY_KEYWORD = {"urgent": "local-extractive-429", "drill": "local-extractive-500"}

Answer = TypeVar("Answer")

app = FastAPI(title="slm-service")
client = openai.AsyncOpenAI(base_url=MODEL_URL, api_key=MODEL_KEY, max_retries=0, timeout=20)


class Wanted(BaseModel):
    question: str = Field(min_length=1, max_length=2_000)
    facts: str = Field(default="", max_length=2_000)
    passages: list[str] = Field(default=[], max_length=20)
    stream: bool = False


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/answer")
async def answer(wanted: Wanted) -> Response:
    messages = prompt(wanted)
    with span("write-answer"):
        if wanted.stream:
            chunks = await with_one_retry(
                wanted.question,
                lambda model: client.chat.completions.create(
                    model=model, messages=messages, stream=True, stream_options={"include_usage": True}
                ),
            )
            return StreamingResponse(events(chunks), media_type="text/event-stream")
        completion = await with_one_retry(
            wanted.question, lambda model: client.chat.completions.create(model=model, messages=messages)
        )
    text = completion.choices[0].message.content or ""
    return JSONResponse({"answer": text, "model": completion.model})


def prompt(wanted: Wanted) -> list[ChatCompletionMessageParam]:
    known = "\n".join([wanted.facts, *wanted.passages])
    return [
        {"role": "system", "content": "Answer from the context."},
        {"role": "user", "content": f"<context>{known}</context>\nQuestion: {wanted.question}"},
    ]


async def with_one_retry(question: str, call: Callable[[str], Awaitable[Answer]]) -> Answer:
    """Call with the question's model; if it is busy, retry once with the default model."""
    model = next((name for word, name in MODELS_BY_KEYWORD.items() if word in question.lower()), MODEL)
    try:
        try:
            return await call(model)
        except openai.RateLimitError:
            event("model.retry", model=model, instead=MODEL)
            return await call(MODEL)
    except openai.APIError as error:
        fail("model_unavailable", type(error).__name__, retryable=True)
        raise HTTPException(503, {"code": "model_unavailable", "message": "try again later"}) from None


async def events(chunks: openai.AsyncStream[ChatCompletionChunk]) -> AsyncIterator[str]:
    """The model's output as server-sent events, followed by the token usage."""
    try:
        async for chunk in chunks:
            if chunk.choices and (words := chunk.choices[0].delta.content):
                yield f"data: {json.dumps({'delta': words})}\n\n"
            if chunk.usage:
                yield f"event: done\ndata: {json.dumps({'tokens': chunk.usage.total_tokens})}\n\n"
    except (openai.APIError, OSError):
        fail("stream_broken", retryable=True)
        yield f"event: error\ndata: {json.dumps({'status': 502, 'code': 'stream_broken'})}\n\n"
    finally:
        await chunks.close()
