"""The demo's workload: the questions of each tenant, sent over HTTP, and their outcomes."""

from __future__ import annotations

import asyncio
import itertools
import json
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
TIMEOUT = 60.0


@dataclass(frozen=True)
class Tenant:
    id: str
    api_key: str = field(repr=False)
    share: int


@dataclass(frozen=True)
class Question:
    """A question, its expected HTTP status and its number of model calls."""

    workflow: str
    text: str
    stream: bool = False
    status: int = 200
    llm_calls: int = 3


@dataclass(frozen=True)
class Outcome:
    """The answer to one tenant's question; for a stream, `status` is the one its events imply."""

    tenant: Tenant
    question: Question
    status: int
    body: bytes

    @property
    def as_expected(self) -> bool:
        return self.status == self.question.status


def plan(workflows: int) -> list[tuple[Tenant, Question]]:
    """The workload, which is the same on every run."""
    tenants = [Tenant(**entry) for entry in _table("tenants.toml", "tenant")]
    # interleave tenants, so that a small number of workflows is a mix too
    rounds = max(tenant.share for tenant in tenants)
    order = [tenant for turn in range(rounds) for tenant in tenants if turn < tenant.share]
    pairs = zip(itertools.cycle(order), itertools.cycle(questions()), strict=False)
    return list(itertools.islice(pairs, workflows))


def questions() -> list[Question]:
    """The questions that tenants ask, in turn."""
    return [Question(**entry) for entry in _table("questions.toml", "question")]


async def send(
    gateway: str, planned: Iterable[tuple[Tenant, Question]], concurrency: int, done: Callable[[], None]
) -> list[Outcome]:
    """Send all questions, at most `concurrency` at a time; call `done` after each answer."""
    limit = asyncio.Semaphore(concurrency)
    async with httpx.AsyncClient(base_url=gateway, timeout=TIMEOUT, trust_env=False) as client:

        async def one(number: int, tenant: Tenant, question: Question) -> Outcome:
            async with limit:
                outcome = await ask(client, tenant, question, f"{tenant.id}-{number % 10}")
            done()
            return outcome

        return await asyncio.gather(*(one(number, *pair) for number, pair in enumerate(planned)))


async def ask(client: httpx.AsyncClient, tenant: Tenant, question: Question, session: str) -> Outcome:
    answer = await client.post(
        f"/v1/workflows/{question.workflow}",
        json={"question": question.text, "stream": question.stream, "session_id": session},
        headers={"authorization": f"Bearer {tenant.api_key}"},
    )
    status = answer.status_code
    if question.stream and status == 200:
        status = _streamed_status(answer.text)
    return Outcome(tenant, question, status, answer.content)


def _streamed_status(events: str) -> int:
    """200 for a complete stream, else the status of its error event, 502 if it ended without one."""
    if "event: done\n" in events:
        return 200
    _, failed, rest = events.partition("event: error\ndata: ")
    return int(json.loads(rest.partition("\n")[0])["status"]) if failed else 502


def _table(file: str, name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads((HERE / file).read_text(encoding="utf-8"))[name]
    return entries
