"""The text of an exception leaves only on spans of the tenant whose work raised it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace.status import Status, StatusCode

from somatrace import bind, bound, content, event, fail, span, tracing
from somatrace.guard.policy.model import Grant
from somatrace.testing import Captured, capture

SECRET = "globex text 2207"
OWN = "acme text 7711"
KEY = "exception.stacktrace"


class ShopError(Exception):
    """An error of the program."""


@pytest.fixture(autouse=True)
def _content_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy of `acme` and `globex` allows content, so that only the tenant decides about a text."""
    with capture():
        pass
    guard = tracing.installed().pipeline.copier._guard
    granted = {"acme": Grant("full"), "globex": Grant("redacted")}
    monkeypatch.setattr(guard, "_resolve", lambda tenant: granted.get(tenant, Grant("none")))
    guard._filters.clear()


def globex() -> None:
    raise ValueError(SECRET)


def in_a_block() -> None:
    with span("inner", tenant_id="globex"):
        globex()


def in_an_exact_bind() -> None:
    with bind(tenant_id="globex"):
        globex()


def in_a_block_without_a_tenant() -> None:
    with bind(tenant_id=None):
        globex()


def with_an_error_of_the_program() -> None:
    with bind(tenant_id="globex"):
        raise ShopError(SECRET)


def as_a_cause() -> None:
    try:
        in_an_exact_bind()
    except ValueError as error:
        raise ShopError("failed") from error


def as_a_context() -> None:
    try:
        in_an_exact_bind()
    except ValueError:
        raise ShopError("failed")  # noqa: B904 - the implicit context is what is tested


def as_a_suppressed_context() -> None:
    try:
        in_an_exact_bind()
    except ValueError as error:
        raise ShopError(str(error)) from None


def as_an_argument() -> None:
    caught: list[Exception] = []
    try:
        in_an_exact_bind()
    except ValueError as error:
        caught.append(error)
    raise ShopError("failed", caught)


class WrappingError(Exception):
    """An error that keeps another one."""

    def __init__(self, inner: Exception) -> None:
        super().__init__(f"failed: {inner}")
        self.inner = inner


def as_an_attribute() -> None:
    caught: list[Exception] = []
    try:
        in_an_exact_bind()
    except ValueError as error:
        caught.append(error)
    raise WrappingError(caught[0])


def as_a_member() -> None:
    caught = []
    for run in (in_an_exact_bind, with_an_error_of_the_program):
        try:
            run()
        except Exception as error:
            caught.append(error)
    raise ExceptionGroup("failed", [KeyError("own"), ExceptionGroup("nested", caught)])


def in_a_block_of_opentelemetry() -> None:
    with bind(tenant_id="globex"), trace.get_tracer("library").start_as_current_span("inner"):
        globex()


def in_a_block_of_opentelemetry_below_another_span() -> None:
    with bind(tenant_id="globex"):
        below = trace.set_span_in_context(trace.get_tracer("library").start_span("below"))
    with trace.get_tracer("library").start_as_current_span("inner", context=below), bind(tenant_id="globex"):
        globex()


def in_a_generator() -> None:
    @bind(tenant_id="globex")
    def work() -> Iterator[int]:
        yield 1
        globex()

    list(work())


def in_a_generator_with_a_block() -> None:
    def work() -> Iterator[int]:
        with bind(tenant_id="globex"):
            yield 1
            globex()

    list(work())


def in_an_async_generator() -> None:
    @span("inner", tenant_id="globex")
    async def work() -> AsyncIterator[int]:
        yield 1
        globex()

    async def consume() -> None:
        async for _ in work():
            pass

    asyncio.run(consume())


def in_a_coroutine() -> None:
    @bind(tenant_id="globex")
    async def work() -> None:
        await asyncio.sleep(0)
        globex()

    async def gathered() -> None:
        await asyncio.gather(work(), work())

    asyncio.run(gathered())


def in_a_task() -> None:
    async def work() -> None:
        async with span("inner"):
            globex()

    async def main() -> None:
        with bind(tenant_id="globex"):
            task = asyncio.create_task(work())
        await task

    asyncio.run(main())


def in_a_pool() -> None:
    with ThreadPoolExecutor() as pool:
        with bind(tenant_id="globex"):
            future = pool.submit(globex)
        future.result()


def in_an_exit_stack() -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(bind(tenant_id="globex"))
        globex()


def kept_for_later() -> None:
    kept: list[Exception] = []
    try:
        in_an_exact_bind()
    except ValueError as error:
        kept.append(error)
    raise kept[0]


def handled_by_another_tenant_before() -> None:
    with bind(tenant_id="globex"):
        try:
            globex()
        except ValueError:
            with bind(tenant_id="acme"):
                raise ShopError("failed")  # noqa: B904 - the implicit context is what is tested


WAYS: list[Callable[[], None]] = [
    in_a_block,
    in_an_exact_bind,
    in_a_block_without_a_tenant,
    with_an_error_of_the_program,
    as_a_cause,
    as_a_context,
    as_a_suppressed_context,
    as_an_argument,
    as_an_attribute,
    as_a_member,
    in_a_block_of_opentelemetry,
    in_a_block_of_opentelemetry_below_another_span,
    in_a_generator,
    in_a_generator_with_a_block,
    in_an_async_generator,
    in_a_coroutine,
    in_a_task,
    in_a_pool,
    in_an_exit_stack,
    kept_for_later,
    handled_by_another_tenant_before,
]


def outer_block(run: Callable[[], None]) -> None:
    with span("outer", tenant_id="acme"):
        run()


def outer_function(run: Callable[[], None]) -> None:
    span("outer", tenant_id="acme")(run)()


def outer_generator(run: Callable[[], None]) -> None:
    @span("outer", tenant_id="acme")
    def work() -> Iterator[int]:
        yield 1
        run()

    list(work())


def outer_block_of_opentelemetry(run: Callable[[], None]) -> None:
    with bind(tenant_id="acme"), trace.get_tracer("library").start_as_current_span("outer"):
        run()


def outer_span_entered_itself(run: Callable[[], None]) -> None:
    with bind(tenant_id="acme"), trace.get_tracer("library").start_span("outer"):
        run()


def outer_recorded_by_a_library(run: Callable[[], None]) -> None:
    with bind(tenant_id="acme"):
        outer = trace.get_tracer("library").start_span("outer")
        try:
            run()
        except Exception as error:
            outer.set_attribute("error.message", str(error))
            outer.record_exception(error)
            outer.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        finally:
            outer.end()


def outer_recorded_after_the_handler(run: Callable[[], None]) -> None:
    with bind(tenant_id="acme"):
        outer = trace.get_tracer("library").start_span("outer")
        caught: list[Exception] = []
        try:
            run()
        except Exception as error:
            caught.append(error)
        outer.set_status(Status(StatusCode.ERROR, str(caught[0])))
        outer.record_exception(caught[0])
        outer.end()
        raise caught[0]


def outer_written_as_text(run: Callable[[], None]) -> None:
    with bind(tenant_id="acme"):
        outer = trace.get_tracer("library").start_span("outer")
        try:
            run()
        except Exception as error:
            outer.add_event("exception", {"exception.message": str(error), KEY: traceback.format_exc()})
            outer.add_event("failed", {"reason": traceback.format_exc()})
            outer.set_attribute("langfuse.observation.status_message", traceback.format_exc())
            outer.set_status(StatusCode.ERROR)
            raise
        finally:
            outer.end()


def outer_failed_by_code(run: Callable[[], None]) -> None:
    with span("outer", tenant_id="acme"):
        try:
            run()
        except Exception as error:
            fail("failed", str(error))
            raise


OUTER = [
    outer_block,
    outer_function,
    outer_generator,
    outer_block_of_opentelemetry,
    outer_span_entered_itself,
    outer_recorded_by_a_library,
    outer_recorded_after_the_handler,
    outer_written_as_text,
    outer_failed_by_code,
]


def captured(run: Callable[..., None], *given: Any) -> Captured:
    with capture() as seen, contextlib.suppress(Exception):
        run(*given)
    return seen


def texts(one: ReadableSpan) -> str:
    return one.to_json()


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("run", WAYS)
def test_a_span_has_the_type_and_place_of_another_tenants_exception_and_no_text(outer, run) -> None:
    seen = captured(outer, run)
    found = seen.named("outer")
    assert SECRET not in texts(found)
    assert found.attributes["tenant_id"] == "acme"
    assert found.status.status_code is StatusCode.ERROR
    assert f"  at {__name__}:" in found.attributes[KEY]
    assert SECRET not in repr([record for record in seen.records if record.span_name == "outer"])


@pytest.mark.parametrize("run", [in_a_block, in_a_block_of_opentelemetry, in_an_async_generator, in_a_task])
def test_the_span_of_the_exceptions_own_tenant_has_its_text(run) -> None:
    inner = captured(outer_block, run).named("inner")
    assert inner.attributes["tenant_id"] == "globex"
    (recorded,) = inner.events
    assert recorded.attributes["exception.message"] == SECRET
    assert "Traceback" in recorded.attributes[KEY]
    assert SECRET in inner.status.description


def own() -> None:
    raise ValueError(OWN)


def own_with_a_cause() -> None:
    try:
        own()
    except ValueError as error:
        raise ShopError("failed") from error


def own_in_nested_blocks() -> None:
    with span("between"), bind(user_id="7"), bind(tenant_id="acme"):
        own()


def own_in_a_pool() -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(own).result()


def own_in_tasks() -> None:
    async def work() -> None:
        own()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(work())

    asyncio.run(main())


def own_below_tags_without_a_tenant() -> None:
    below = otel_context.get_current()

    def run() -> None:
        token = otel_context.attach(below)
        try:
            with bind(user_id="7"), span("between"):
                own()
        finally:
            otel_context.detach(token)

    contextvars.Context().run(run)


def own_after_another_tenants() -> None:
    for _ in range(20):
        with contextlib.suppress(ValueError):
            in_an_exact_bind()
    own()


def own_although_another_tenant_works_while_it_is_handled() -> None:
    try:
        own()
    except ValueError:
        with bind(tenant_id="globex"), contextlib.suppress(ValueError):
            globex()
        raise


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize(
    "run",
    [
        own,
        own_with_a_cause,
        own_in_nested_blocks,
        own_in_a_pool,
        own_in_tasks,
        own_after_another_tenants,
        own_although_another_tenant_works_while_it_is_handled,
    ],
)
def test_a_span_has_the_text_of_its_own_tenants_exception(outer, run) -> None:
    assert OWN in texts(captured(outer, run).named("outer"))


@pytest.mark.parametrize("outer", [outer_block, outer_function, outer_block_of_opentelemetry])
def test_work_with_a_tenants_trace_context_alone_is_of_that_tenant(outer: Callable[..., None]) -> None:
    assert OWN in texts(captured(outer, own_below_tags_without_a_tenant).named("outer"))


def test_another_tenants_block_in_a_handler_does_not_get_the_handled_text() -> None:
    def run() -> None:
        with span("outer", tenant_id="acme"):
            try:
                own()
            except ValueError:
                with span("report", tenant_id="globex"):
                    raise ShopError("no answer")  # noqa: B904 - the implicit context is what is tested

    seen = captured(run)
    assert OWN not in texts(seen.named("report"))


def test_an_exception_thrown_into_another_tenants_generator_brings_no_text() -> None:
    @span("stream", tenant_id="globex")
    def stream() -> Generator[int, None, None]:
        yield 1

    def run() -> None:
        with span("outer", tenant_id="acme"):
            steps = stream()
            next(steps)
            steps.throw(ValueError(OWN))

    assert OWN not in texts(captured(run).named("stream"))


def test_an_exception_that_passed_through_two_tenants_shows_its_text_on_neither_outer_span() -> None:
    def noted() -> None:
        with bind(tenant_id="acme"):
            try:
                in_an_exact_bind()
            except ValueError as error:
                error.add_note(OWN)
                raise

    def run() -> None:
        with span("outer", tenant_id="globex"):
            noted()

    found = texts(captured(run).named("outer"))
    assert OWN not in found
    assert SECRET not in found


def test_a_span_that_another_tenants_exception_fails_is_guarded_as_with_content_off() -> None:
    def run() -> None:
        with span("outer", tenant_id="acme"):
            content(input="a question")
            in_a_block()

    found = texts(captured(run).named("outer"))
    assert "a question" not in found
    assert "policy none" in found


def test_a_handled_exception_of_another_tenant_leaves_content_of_later_work_open() -> None:
    def run() -> None:
        with span("outer", tenant_id="acme"):
            try:
                in_an_exact_bind()
            except ValueError:
                event("job failed", reason="retry")
            content(input="a question")

    found = captured(run).named("outer")
    assert "a question" in texts(found)
    assert SECRET not in texts(found)
    assert [one.name for one in found.events] == ["job failed"]


def test_an_event_in_a_handler_is_guarded_as_with_content_off_for_listeners_too() -> None:
    def run() -> None:
        with span("outer", tenant_id="acme"):
            try:
                in_an_exact_bind()
            except ValueError:
                event("failed", reason="word " * 100)

    seen = captured(run)
    (record,) = [record for record in seen.records if record.phase == "event"]
    assert record.attributes["reason"] == seen.named("outer").events[0].attributes["reason"]
    assert len(record.attributes["reason"]) <= 256


def test_a_text_event_outside_of_a_handler_shows_type_and_place_alone() -> None:
    def run() -> None:
        with bind(tenant_id="acme"), trace.get_tracer("library").start_as_current_span("outer") as outer:
            outer.add_event("exception", {"exception.type": "ValueError", "exception.message": SECRET})

    found = captured(run).named("outer")
    assert dict(found.events[0].attributes) == {"exception.type": "ValueError"}


def test_a_span_recorded_outside_of_all_blocks_has_its_own_tenants_text() -> None:
    def run() -> None:
        with bind(tenant_id="acme"):
            outer = trace.get_tracer("library").start_span("outer")
        outer.record_exception(ValueError(OWN))
        outer.end()

    assert OWN in texts(captured(run).named("outer"))


def test_a_span_recorded_while_another_tenant_is_bound_has_no_text() -> None:
    def run() -> None:
        with bind(tenant_id="acme"):
            outer = trace.get_tracer("library").start_span("outer")
        with bind(tenant_id="globex"):
            outer.record_exception(ValueError(SECRET))
        outer.end()

    assert SECRET not in texts(captured(run).named("outer"))


@pytest.mark.parametrize("kind", [ValueError, ShopError, OSError])
def test_nothing_is_kept_of_an_exception_and_nothing_is_written_to_it(kind) -> None:
    class Local:
        pass

    def run() -> weakref.ref[Local]:
        local = Local()
        error = kind(SECRET)
        before = dir(error), dict(vars(error)), error.args
        with contextlib.suppress(kind), span("outer", tenant_id="acme"), span("inner", tenant_id="globex"):
            raise error
        assert before == (dir(error), dict(vars(error)), error.args)
        del error  # with its traceback, it would keep this frame
        return weakref.ref(local)

    with capture():
        gc.collect()
        gc.disable()
        try:
            assert run()() is None
        finally:
            gc.enable()


def test_an_attached_context_of_another_tenants_span_gets_no_text() -> None:
    def run() -> None:
        with span("outer", tenant_id="acme"):
            outer = otel_context.get_current()
        with bind(tenant_id="globex"):
            token = otel_context.attach(outer)
            try:
                with trace.get_tracer("library").start_as_current_span("below"):
                    globex()
            finally:
                otel_context.detach(token)

    seen = captured(run)
    assert seen.named("below").attributes["tenant_id"] == "globex"
    assert SECRET in texts(seen.named("below"))
    assert SECRET not in texts(seen.named("outer"))


# -- programs of any form ------------------------------------------------------------------------------------

BLOCKS = ("span", "tenant_span", "bind", "otel", "generator", "async", "pool", "stack")
HANDLERS = ("none", "swallow", "cause", "context", "suppressed", "group", "argument", "reraise", "finally")
#: A block: its kind and tenant, the treatment of its children's failures, whether it raises, its children.
PROGRAMS = st.recursive(
    st.tuples(
        st.sampled_from(BLOCKS),
        st.sampled_from(["acme", "globex"]),
        st.just("none"),
        st.just(True),
        st.just([]),
    ),
    lambda children: st.tuples(
        st.sampled_from(BLOCKS),
        st.sampled_from(["acme", "globex"]),
        st.sampled_from(HANDLERS),
        st.booleans(),
        st.lists(children, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def marker(tenant: object) -> str:
    return f"text of {tenant}"


def interpret(program: Any) -> None:  # noqa: C901 - one branch per kind of block
    """Run a program, whose exceptions name the tenant that is in force where they are raised."""
    kind, tenant, handler, raises, children = program

    def body() -> None:
        for child in children:
            handled(handler, child)
        if raises:
            raise ShopError(marker(bound().get("tenant_id")))

    if kind == "span":
        with span("step"):
            body()
    elif kind == "tenant_span":
        span("step", tenant_id=tenant)(body)()
    elif kind == "bind":
        with bind(tenant_id=tenant):
            body()
    elif kind == "otel":
        with trace.get_tracer("library").start_as_current_span("step"):
            body()
    elif kind == "generator":

        @span("step", tenant_id=tenant)
        def steps() -> Iterator[int]:
            yield 1
            body()

        list(steps())
    elif kind == "async":

        @span("step", tenant_id=tenant)
        async def run() -> None:
            await asyncio.sleep(0)
            body()

        with ThreadPoolExecutor() as pool:
            pool.submit(asyncio.run, run()).result()
    elif kind == "pool":
        with ThreadPoolExecutor() as pool, span("step", tenant_id=tenant):
            pool.submit(body).result()
    else:
        with contextlib.ExitStack() as stack:
            stack.enter_context(bind(tenant_id=tenant))
            stack.enter_context(span("step"))
            body()


def handled(handler: str, child: Any) -> None:
    """Run a child, and treat its failure in one of the ways in which programs do."""
    caught: list[Exception] = []
    own_text = marker(bound().get("tenant_id"))
    if handler == "finally":
        try:
            interpret(child)
        finally:
            with contextlib.suppress(KeyError), span("cleanup"):
                raise KeyError(own_text)
        return
    try:
        interpret(child)
    except Exception as error:
        caught.append(error)
        trace.get_current_span().record_exception(error)
        event("handled")
        if handler in {"none", "reraise"}:
            raise
        if handler == "cause":
            raise ShopError(own_text) from error
        if handler == "context":
            raise ShopError(own_text)  # noqa: B904 - the implicit context is what is tested
        if handler == "suppressed":
            raise ShopError(f"{own_text}: {error}") from None
    if caught and handler == "group":
        raise ExceptionGroup(own_text, caught)
    if caught and handler == "argument":
        raise ShopError(own_text, caught[0])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROGRAMS)
def test_no_span_of_any_program_has_another_tenants_text(program: Any) -> None:
    seen = captured(interpret, program)
    for one in seen.spans:
        tenant = one.attributes["tenant_id"]
        others = {"acme", "globex", None} - {tenant if tenant != "unknown" else None}
        assert not [other for other in others if marker(other) in texts(one)], texts(one)
