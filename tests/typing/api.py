"""Every public name as a typed service uses it. Not run: mypy checks it with the package (ci/lint).

What is returned is said by annotations and `assert_type`, so that a signature that loses its types fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import assert_type

from opentelemetry.trace import Span

import somatrace
from somatrace import (
    Config,
    ConfigError,
    ContentPolicy,
    Kind,
    Listener,
    Record,
    Status,
    TenantSpans,
    bind,
    bound,
    content,
    event,
    fail,
    flush,
    incoming,
    init_tracing,
    outgoing,
    shutdown,
    span,
    status,
    usage,
)

assert_type(somatrace.__all__, list[str])


def printing(record: Record) -> None:
    print(record.phase, record.name, record.kind, record.duration_ns, record.tags.get("tenant_id"))


class Counting:
    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, record: Record, /) -> None:
        self.failed += record.status == "error"


listeners: Sequence[Listener] = [printing, Counting()]
policy = ContentPolicy.parse({"tenants": {"acme": {"content": "redacted"}}})
settings = Config(target="otlp", endpoint="http://127.0.0.1:4318", sample_rate=0.5, content_policy=policy)
try:
    settings.check()
except ConfigError as error:
    print(error)
init_tracing("typed", config=settings, listeners=listeners)
init_tracing("typed")


@span("plan", kind="agent", agent_id="planner")
def plan(question: str, *, depth: int = 1) -> list[str]:
    return [question] * depth


@span("answer", kind="workflow")
async def answer(question: str) -> int:
    return len(question)


@bind(tenant_id="acme", attempt=1, dry=False, share=0.5, user_id=None)
def words(text: str) -> Iterator[str]:
    yield from text.split()


@span("stream")
async def stream(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word


class Tools:
    @span("look-up", kind="tool")
    def look_up(self, key: str) -> str | None:
        return key or None


assert_type(plan("q", depth=2), list[str])
assert_type(words("a b"), Iterator[str])
assert_type(Tools().look_up("k"), str | None)


async def serve(headers: Mapping[str, str]) -> None:
    kind: Kind = "llm"
    with incoming(headers, peer="10.0.0.7", trust=("10.0.0.0/8",)), bind(tenant_id="acme"):
        with span("call", kind=kind, attempt=1) as current:
            assert_type(current, Span)
            current.set_attribute("own.attribute", True)
            event("retrieved", documents=3, cached=False)
            content(input={"role": "user"}, output=["text"])
            usage(model="m", input_tokens=1, output_tokens=2, cost=0.1, currency="EUR")
            fail("rate_limited", "slow down", retryable=True)
        async with span("inner") as inner, bind(run_id="r1"):
            assert_type(inner, Span)
            assert_type(await answer("q"), int)
            async for word in stream("a b"):
                assert_type(word, str)
    assert_type(dict(outgoing()), dict[str, str])
    assert_type(bound(), dict[str, str | int | float | bool])


found = status()
assert_type(found, Status)
assert_type(found.problems, tuple[str, ...])
assert_type(found.tenants["acme"], TenantSpans)
assert_type(flush(1.5), bool)
assert_type(shutdown(), bool)

# Calls that must not type-check: an unneeded ignore is an error itself.
span("work", kind="errand")  # type: ignore[arg-type]
bind(tenant_id=["acme"])  # type: ignore[arg-type]
event(name="happened")  # type: ignore[call-arg]
usage("model")  # type: ignore[call-arg]
init_tracing(service_name="typed")  # type: ignore[call-arg]
Config(endpiont="http://127.0.0.1:4318")  # type: ignore[call-arg]
