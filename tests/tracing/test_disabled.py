"""Programs whose settings turn tracing off: no spans, and everything else as if it were on."""

from __future__ import annotations

import pytest

from tests.support.programs import run_program

pytestmark = pytest.mark.slow

OFF = {"SOMATRACE_ENABLED": "false"}
ON = {"SOMATRACE_TARGET": "none"}

#: Prints the tags at many places, and which exceptions arrive.
TAGS = """
import asyncio, contextlib
from somatrace import bind, bound, content, event, fail, init_tracing, outgoing, span, usage

init_tracing("svc")

def show(place):
    headers = outgoing()
    print(place, sorted(bound().items()), headers.get("x-somatrace-tags"), headers.get("x-request-id"))

def annotate():
    event("seen", n=1); usage(model="m", input_tokens=1); content(input="x"); fail("code")

with bind(tenant_id="acme", request_id="r-1"):
    show("bind")
    for kind in ("workflow", "step", "agent", "tool", "llm", "retrieval", "embedding", "check", "nonsense"):
        with span("plan a trip", kind=kind, own=object()):
            show(kind)
            annotate()
        show(f"after {kind}")
    with span("outer", kind="workflow"), span("inner", kind="workflow"), span("step", agent_id="planner"):
        show("nested")
        with bind(tenant_id=None, team="blue"):
            show("unbound")

one = span("again", kind="agent")
with one, one:
    show("entered twice")
show("left twice")

first, second = span("first", kind="agent"), span("second", kind="workflow")
first.__enter__(); second.__enter__(); first.__exit__(None, None, None)
print("in any order", sorted(bound().items()))  # a span would add the tags that it began with to the headers
second.__exit__(None, None, None)
show("nothing open")

class Service:
    @span("method", kind="workflow")
    def method(self):
        show("method")
        return 1

    @staticmethod
    @span("static", kind="agent")
    def static():
        show("static")
        return 2

    @span("plain")
    def plain(self, value):
        show("plain")
        return value

    @span("coroutine", kind="agent")
    async def coroutine(self):
        show("coroutine")
        await asyncio.sleep(0)
        show("coroutine, later")
        return 3

    @span("plain coroutine")
    async def plain_coroutine(self):
        return 4

    @span("steps", kind="agent")
    def steps(self):
        for number in range(2):
            show(f"step {number}")
            yield number

    @span("plain steps")
    def plain_steps(self):
        received = yield 1
        yield received

    @span("async steps", kind="workflow")
    async def async_steps(self):
        for number in range(2):
            show(f"async step {number}")
            yield number

service = Service()
print(service.method(), Service.static(), service.plain(9))
for number in service.steps():
    show(f"between {number}")
plain = service.plain_steps()
print(next(plain), plain.send(7), [*plain])

async def main():
    print(await service.coroutine(), await service.plain_coroutine())
    async for number in service.async_steps():
        show(f"async between {number}")
    async with span("block", kind="workflow"), bind(user_id="u"):
        show("async block")

asyncio.run(main())

class Own(Exception):
    pass

@span("raises", kind="agent")
def raises():
    raise Own("text")

for call in (raises, lambda: [*failing()]):
    @span("failing")
    def failing():
        yield 1
        raise Own("later")
    with contextlib.suppress(Own), span("around", kind="workflow"):
        call()
        print("not reached")
    show("after an exception")
with contextlib.suppress(KeyboardInterrupt), bind(tenant_id="acme"), span("interrupted"):
    raise KeyboardInterrupt
show("end")
"""


def test_tags_and_exceptions_are_the_same_whether_tracing_is_on_or_off() -> None:
    # without the trace, which is sent on only where there is one
    settings = {"OTEL_PROPAGATORS": "none"}
    on, off = (run_program(TAGS, settings | one).stdout.splitlines() for one in (ON, OFF))
    assert off == on
    assert len(off) > 40


def test_a_block_changes_nothing_and_its_span_records_nothing() -> None:
    done = run_program(
        """
        from opentelemetry import context, trace
        from somatrace import init_tracing, span
        from somatrace.context.tags import layers
        init_tracing("svc")
        before = context.get_current()
        with span("step", kind="llm", own=1) as found:
            print(found is trace.get_current_span(), found.is_recording(), found.get_span_context().is_valid)
            print(context.get_current() is before, layers.get())
        """,
        OFF,
    )
    assert done.stdout == "True False False\nTrue None\n"


def test_the_callers_trace_is_sent_on_through_blocks() -> None:
    done = run_program(
        """
        from somatrace import incoming, init_tracing, outgoing, span
        init_tracing("svc")
        sent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        with incoming(sent), span("answer", kind="workflow"), span("call", kind="llm"):
            print(outgoing()["traceparent"])
        """,
        OFF,
    )
    assert "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331" in done.stdout


def test_a_provider_of_the_programs_own_gets_its_spans() -> None:
    done = run_program(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from somatrace import event, init_tracing, span
        @span("decorated")
        def call():
            with span("inside"):
                event("seen")
        init_tracing("svc")
        call()
        kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(kept))
        with provider.get_tracer("program").start_as_current_span("program's") as above:
            with span("hidden") as hidden:
                print(hidden.is_recording(), trace.get_current_span() is above)
        trace.set_tracer_provider(provider)
        call()
        print([(one.name, [e.name for e in one.events]) for one in kept.get_finished_spans()])
        """,
        OFF,
    )
    assert done.stdout == ("False False\n[(\"program's\", []), ('inside', ['seen']), ('decorated', [])]\n")
