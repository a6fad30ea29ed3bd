"""Find passages in embedded articles by cosine similarity. Synchronous throughout."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from requests import RequestException

from app.embedding import Index, embed
from somatrace import bind, content, event, fail, init_tracing, span

init_tracing("recall-service")

ARTICLES = Path(__file__).with_name("articles.md")
MODEL_URL = os.environ.get("MODEL_URL", "http://127.0.0.1:8400/v1")
MODEL_KEY = os.environ.get("MODEL_KEY", "local")


class Search(BaseModel):
    query: str = Field(min_length=1, max_length=2_000)
    top: int = Field(default=3, ge=1, le=20)


class Passage(BaseModel):
    title: str
    text: str
    score: float


class Found(BaseModel):
    passages: list[Passage]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # not requested by a tenant, so attributed to the platform
    with bind(tenant_id="platform", workflow_name="index-articles"), span("index-articles", kind="workflow"):
        app.state.index = Index.of(ARTICLES.read_text(encoding="utf-8"), MODEL_URL, MODEL_KEY)
        event("index.built", chunks=len(app.state.index))
    yield


app = FastAPI(title="recall-service", lifespan=lifespan)


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/search")
def search(wanted: Search) -> Found:
    index: Index = app.state.index
    with span("search-articles", kind="retrieval", top=wanted.top):
        content(input=wanted.query)
        try:
            [query] = embed([wanted.query], MODEL_URL, MODEL_KEY)
        except RequestException:
            fail("embedding_failed", retryable=True)
            raise HTTPException(503, {"code": "embedding_failed", "message": "try again"}) from None
        nearest = index.nearest(query, wanted.top)
        passages = [
            Passage(title=chunk.title, text=chunk.text, score=round(score, 6)) for chunk, score in nearest
        ]
        content(output=[passage.title for passage in passages])
        event("search.completed", found=len(passages))
    return Found(passages=passages)
