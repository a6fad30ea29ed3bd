"""`span`: the spans exported for blocks, functions and generators."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import types
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace.status import StatusCode

from somatrace import bind, outgoing, span
from somatrace.semconv import KIND_ATTRIBUTES, KINDS, ShortTexts
from somatrace.testing import assert_no_content, assert_tags, capture
from tests.support.programs import run_program


def test_a_block_becomes_a_span_and_inner_blocks_its_children() -> None:
    with capture() as seen, span("outer"), span("inner"):
        pass
    outer, inner = seen.named("outer"), seen.named("inner")
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert inner.context.trace_id == outer.context.trace_id


def test_the_block_receives_opentelemetrys_own_span() -> None:
    with capture() as seen, span("plan", attempts=1) as plan:
        assert plan is trace.get_current_span()
        plan.set_attribute("steps", 3)
    assert seen.named("plan").attributes["steps"] == 3
    assert seen.named("plan").attributes["attempts"] == 1


@pytest.mark.parametrize(("kind", "words"), KINDS.items())
def test_each_kind_is_translated_for_langfuse_and_the_conventions(kind, words) -> None:
    with capture() as seen, span("work", kind=kind):
        pass
    attributes = seen.named("work").attributes
    assert attributes["langfuse.observation.type"] == words[0]
    assert attributes.get("gen_ai.operation.name") == words[1]
    assert attributes.get("traceloop.span.kind") == words[2]


def test_an_exception_marks_the_span_and_propagates_without_exporting_its_text() -> None:
    with capture() as seen, pytest.raises(ValueError, match="sk-canary"), span("risky"):
        raise ValueError("the key is sk-canary")
    risky = seen.named("risky")
    assert risky.status.status_code is StatusCode.ERROR
    assert risky.attributes["error.type"] == "ValueError"
    assert [event.name for event in risky.events] == ["exception"]
    assert_no_content(seen, "sk-canary", "the key is")


def test_exception_text_recorded_by_the_sdk_is_removed_too() -> None:
    tracer = trace.get_tracer("program")
    with capture() as seen, pytest.raises(RuntimeError), tracer.start_as_current_span("own"):
        raise RuntimeError("canary-in-stack")
    assert seen.named("own").status.description == "RuntimeError"
    assert_no_content(seen, "canary-in-stack", "Traceback")


def test_a_decorated_function_keeps_its_kind_result_and_name() -> None:
    @span("add", kind="tool")
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    with capture() as seen:
        assert add(1, 2) == 3
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    assert seen.named("add").attributes["gen_ai.tool.name"] == "add"


def test_a_decorated_coroutine_function_stays_one_and_its_span_covers_the_await() -> None:
    @span("fetch")
    async def fetch() -> str:
        await asyncio.sleep(0)
        with span("child"):
            return "done"

    assert inspect.iscoroutinefunction(fetch)
    with capture() as seen:
        assert asyncio.run(fetch()) == "done"
    assert seen.named("child").parent.span_id == seen.named("fetch").context.span_id


def test_async_with_behaves_like_with() -> None:
    async def run() -> None:
        async with span("awaited"):
            await asyncio.sleep(0)

    with capture() as seen:
        asyncio.run(run())
    assert seen.named("awaited").end_time is not None


def test_a_generators_span_lasts_until_exhaustion_and_is_not_current_between_steps() -> None:
    @span("stream")
    def stream():
        for number in range(3):
            with span("piece"):
                pass
            yield number
        return "end"

    assert inspect.isgeneratorfunction(stream)
    with capture() as seen:
        received = []
        for number in stream():
            received.append(number)
            assert not trace.get_current_span().get_span_context().is_valid
    whole = seen.named("stream")
    pieces = [found for found in seen.spans if found.name == "piece"]
    assert received == [0, 1, 2]
    assert {piece.parent.span_id for piece in pieces} == {whole.context.span_id}
    assert whole.end_time >= pieces[-1].end_time


def test_a_decorated_generator_supports_send_throw_and_return_values() -> None:
    @span("echo")
    def echo():
        got = yield "ready"
        try:
            yield got * 2
        except KeyError:
            return "caught"

    with capture() as seen:
        running = echo()
        assert next(running) == "ready"
        assert running.send(21) == 42
        with pytest.raises(StopIteration) as stopped:
            running.throw(KeyError())
    assert stopped.value.value == "caught"
    assert seen.named("echo").status.status_code is StatusCode.UNSET


def test_an_abandoned_generator_ends_its_span_without_a_failure() -> None:
    @span("endless")
    def endless():
        while True:
            yield 1

    with capture() as seen:
        running = endless()
        next(running)
        running.close()
    assert seen.named("endless").attributes["somatrace.outcome"] == "abandoned"
    assert seen.named("endless").status.status_code is StatusCode.UNSET


def test_a_generator_that_is_never_pulled_creates_no_span() -> None:
    @span("unused")
    def unused():
        yield 1

    with capture() as seen:
        unused()
    assert seen.spans == []


def test_an_async_generator_consumed_in_another_task_keeps_its_creators_parent_and_tags() -> None:
    @span("answer")
    async def answer():
        for number in range(2):
            with span("token"):
                await asyncio.sleep(0)
            yield number

    async def run() -> None:
        with bind(tenant_id="acme"), span("request"):
            stream = answer()

        async def consume() -> list[int]:
            with bind(tenant_id="globex"):
                return [number async for number in stream]

        assert await asyncio.create_task(consume()) == [0, 1]

    assert inspect.isasyncgenfunction(answer)
    with capture() as seen:
        asyncio.run(run())
    assert_tags(seen, tenant_id="acme")
    assert seen.named("answer").parent.span_id == seen.named("request").context.span_id


def test_a_canceled_task_is_recorded_and_the_cancellation_propagates() -> None:
    async def run() -> None:
        @span("slow")
        async def slow() -> None:
            await asyncio.sleep(60)

        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with capture() as seen:
        asyncio.run(run())
    assert seen.named("slow").attributes["somatrace.outcome"] == "cancelled"
    assert seen.named("slow").status.status_code is StatusCode.UNSET


def test_a_name_that_is_a_sentence_becomes_neither_agent_nor_workflow() -> None:
    said = "Tell Jane Miller that her screening was positive, please call back"
    with capture() as seen, span("plan", kind="agent"), span(said, kind="agent"):
        assert said not in str(outgoing())
        with span("inside"):
            pass

    assert seen.named("inside").attributes["agent_id"] == "plan"
    assert said not in str([dict(one.attributes) for one in seen.spans])


def test_methods_and_static_methods_can_be_decorated() -> None:
    class Agent:
        @span("run", kind="agent")
        def run(self) -> str:
            return type(self).__name__

        @span("numbers")
        def numbers(self):
            yield from (1, 2)

    with capture() as seen:
        assert Agent().run() == "Agent"
        assert list(Agent().numbers()) == [1, 2]
    assert seen.named("numbers").end_time is not None


def test_the_span_of_a_callable_object_covers_its_coroutine_or_generator() -> None:
    class Fetch:
        async def __call__(self, what: str) -> str:
            with span("inside the coroutine"):
                await asyncio.sleep(0)
            return what

    class Stream:
        async def __call__(self):
            with span("inside the stream"):
                yield 1

    async def main() -> object:
        pieces = [piece async for piece in span("stream")(Stream())()]
        return await span("fetch")(Fetch())("it"), pieces

    with capture() as seen:
        assert asyncio.run(main()) == ("it", [1])
    for inner, outer in (("inside the coroutine", "fetch"), ("inside the stream", "stream")):
        assert seen.named(inner).parent == seen.named(outer).context


def test_a_generator_made_awaitable_by_types_coroutine_stays_awaitable() -> None:
    @span("switch")
    @types.coroutine
    def switch():
        yield
        return "done"

    async def main() -> str:
        return await switch()

    with capture() as seen:
        assert asyncio.run(main()) == "done"
    assert seen.named("switch").end_time is not None


@span("module_level")
def module_level_generator():
    yield 1


def test_a_decorated_generator_function_pickles_by_name_like_a_plain_one() -> None:
    data = pickle.dumps(module_level_generator)
    assert b"module_level_generator" in data


def test_attributes_called_name_or_self_do_not_collide() -> None:
    with capture() as seen, bind(self="me"), span("call", name="x", self=1):
        pass
    assert seen.named("call").attributes["name"] == "x"
    assert seen.named("call").attributes["langfuse.trace.metadata.self"] == "me"


def test_attributes_of_any_type_never_raise() -> None:
    with capture() as seen, span("odd", thing=object(), nothing=None, nested={"a": [1]}, huge=2**80):
        pass
    assert seen.named("odd").end_time is not None


def test_one_span_object_entered_by_two_tasks_keeps_them_separate() -> None:
    shared = span("shared")

    async def use(pause: float) -> None:
        with shared:
            await asyncio.sleep(pause)
            with span("child"):
                pass

    async def run() -> None:
        await asyncio.gather(use(0.02), use(0.001))

    with capture() as seen:
        asyncio.run(run())
    parents = {found.context.span_id for found in seen.spans if found.name == "shared"}
    children = [found.parent.span_id for found in seen.spans if found.name == "child"]
    assert len(parents) == 2
    assert set(children) == parents


def test_span_uses_a_provider_set_after_the_first_span() -> None:
    done = run_program(
        """
        from opentelemetry import trace
        from somatrace import span
        with span("before anything is set up") as early:
            assert not early.is_recording()
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        with span("then") as late:
            assert late.is_recording()
        print("ok")
        """
    )
    assert done.stdout == "ok\n"


def test_a_sampler_that_changes_its_attributes_changes_no_other_span(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    from somatrace.api import span_scopes

    class Writes(Sampler):
        def should_sample(self, *given: Any, **_: Any) -> SamplingResult:
            given[4]["written"] = True
            return SamplingResult(Decision.RECORD_AND_SAMPLE, given[4])

        def get_description(self) -> str:
            return "writes"

    with capture() as seen:
        with monkeypatch.context() as patch:
            patch.setattr(span_scopes._tracer(), "sampler", Writes())
            with span("first"):
                pass
        with span("second"):
            pass

    second = next(one for one in seen.spans if one.name == "second")
    assert "written" not in second.attributes


@pytest.mark.parametrize("kind", KINDS)
def test_the_attributes_of_a_kind_are_few_and_short(kind: str) -> None:
    attributes = KIND_ATTRIBUTES[kind]
    assert type(attributes) is ShortTexts
    assert len(attributes) <= 8
    assert all(type(value) is str and key and len(value) <= 32 for key, value in attributes.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"])
def test_the_attributes_of_a_kind_keep_the_limits(name: str) -> None:
    done = run_program(
        """
        from opentelemetry import trace
        from somatrace import init_tracing, span
        from somatrace.semconv import KIND_ATTRIBUTES, KINDS
        init_tracing("svc")
        tracer = trace.get_tracer("somatrace")
        for kind in KINDS:
            with span("one", kind=kind) as found:
                given = dict(found.attributes)
            expected = tracer.start_span("one", attributes=dict(KIND_ATTRIBUTES[kind]))
            same = dict(expected.attributes).items() <= given.items() or len(given) == 2
            print(same, max(map(len, given.values())))
        """,
        {name: "2", "SOMATRACE_TARGET": "none"},
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(KINDS)
    assert all(same == "True" for same, _ in lines)
    if name == "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT":
        assert all(longest == "2" for _, longest in lines)
