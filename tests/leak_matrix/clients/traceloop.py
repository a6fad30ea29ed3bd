"""traceloop-sdk: its decorators, association properties, prompts, manual spans, and its own exporter."""

from __future__ import annotations

import contextvars
import os
from collections.abc import AsyncIterator
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import agent, task, tool, workflow
from traceloop.sdk.tracing.manual import LLMMessage, LLMUsage, track_llm_call

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing

Traceloop.init(
    "matrix",
    exporter=OTLPSpanExporter(f"{os.environ['MATRIX_SECOND']}/v1/traces"),
    disable_batch=True,
    instruments=set(),
    resource_attributes={"api.token": "sk-proj-A1b2resource"},
)


@tool(name="search")
def search(query: str, c: Planted) -> str:
    return query + c("result")


@task(name="step")
def step(query: str, c: Planted) -> str:
    return search(query, c)


@agent(name="planner")
def plan(query: str, c: Planted) -> str:
    return step(query, c=c)


@workflow(name="joke")
def joke(query: str, c: Planted) -> str:
    return plan(query, c)


@case("input", "result")
def decorators(c: Planted) -> None:
    joke(c("input"), c)


@case("input")
async def generators(c: Planted) -> None:
    @workflow(name="stream")
    async def stream(query: str) -> AsyncIterator[str]:
        yield query
        yield c("yielded")

    @task(name="later")
    async def later(query: str) -> str:
        return query

    async for _ in stream(c("input")):
        pass
    await later(c("input"))


@case()
def failing_functions(c: Planted) -> None:
    @workflow(name="boom")
    def boom(query: str) -> None:
        raise ValueError(f"{query} {c('error')}")

    with failing():
        boom(c("input"))


@case()  # no policy releases them: attached properties may be the previous tenant's
def association_properties(c: Planted) -> None:
    properties = {"customer": c("association"), "tenant_id": "open", "user_id": c.email("user")}
    contextvars.copy_context().run(_associated, properties, c)


def _associated(properties: dict[str, str], c: Planted) -> None:
    Traceloop.set_association_properties(
        properties
    )  # never detached: they end only with the context of a request
    joke(c("input"), c)


@case()
def prompts(c: Planted) -> None:
    def prompted() -> None:
        Traceloop.set_prompt(c("template"), {"name": c("variable")}, 1)
        joke(c("input"), c)

    contextvars.copy_context().run(prompted)


@case("prompt", "answer")
def manual(c: Planted) -> None:
    with track_llm_call(vendor="openai", type="chat") as made:
        made.report_request(model="gpt-4o", messages=[LLMMessage(role="user", content=c("prompt"))])
        made.report_response("gpt-4o", [c("answer")])
        usage: Any = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        made.report_usage(LLMUsage(prompt_tokens=11, completion_tokens=7, total_tokens=18, **usage))
