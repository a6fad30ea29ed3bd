"""Tags and parents across task groups, threads, callbacks and context managers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
import wrapt
from opentelemetry import trace

from somatrace import bind, bound, span
from somatrace.testing import Captured, capture
from tests.support.programs import run_program


def tenant(seen: Captured, name: str) -> object:
    return seen.named(name).attributes["tenant_id"]


def inside(seen: Captured, child: str, parent: str) -> bool:
    return seen.named(child).parent.span_id == seen.named(parent).context.span_id


def note(name: str) -> None:
    with span(name):
        pass


def test_anyio_tasks_worker_threads_and_callbacks_keep_their_tenant() -> None:
    async def back(name: str) -> None:
        note(f"back {name}")

    def in_thread(name: str) -> None:
        with span(f"thread {name}"):
            anyio.from_thread.run(back, name)

    async def child(name: str) -> None:
        with span(f"child {name}"):
            await anyio.to_thread.run_sync(in_thread, name)

    async def work(who: str) -> None:
        with bind(tenant_id=who), span(f"root {who}"):
            async with anyio.create_task_group() as group:
                group.start_soon(child, f"{who} 1")
                group.start_soon(child, f"{who} 2")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for who in "abc":
                group.start_soon(work, who)

    with capture() as seen:
        anyio.run(main)
    for who in "abc":
        for name in (f"{who} 1", f"{who} 2"):
            assert {tenant(seen, f"{what} {name}") for what in ("child", "thread", "back")} == {who}
            assert inside(seen, f"child {name}", f"root {who}")
            assert inside(seen, f"thread {name}", f"child {name}")
            assert inside(seen, f"back {name}", f"thread {name}")


def test_a_copied_context_keeps_its_tags_wherever_it_runs_and_leaks_none() -> None:
    with capture() as seen:
        with bind(tenant_id="copied"), span("outer"):
            context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(note, "inside"))
        thread.start()
        thread.join()
        note("outside")
    assert tenant(seen, "inside") == "copied"
    assert inside(seen, "inside", "outer")
    assert tenant(seen, "outside") == "unknown"


def test_an_event_loop_in_a_thread_keeps_the_tags_of_its_starter() -> None:
    async def leaf() -> None:
        note("leaf")

    async def main() -> None:
        with bind(tenant_id="acme"), span("outer"):
            await asyncio.to_thread(lambda: asyncio.run(leaf()))

    with capture() as seen:
        asyncio.run(main())
    assert tenant(seen, "leaf") == "acme"
    assert inside(seen, "leaf", "outer")


@pytest.mark.parametrize("how", ["gather", "group"])
def test_failing_and_canceled_tasks_keep_their_tenants_and_leak_nothing(how) -> None:
    async def one(number: int) -> None:
        with bind(tenant_id=f"t{number}"), span(f"task {number}"):
            await asyncio.sleep(0)
            if number == 3:
                raise ValueError(number)
            await asyncio.sleep(0.005)
            note(f"inner {number}")

    async def gathered() -> None:
        await asyncio.gather(*(one(number) for number in range(6)), return_exceptions=True)

    async def grouped() -> None:
        with contextlib.suppress(BaseExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(6):
                    group.create_task(one(number))

    async def main() -> None:
        await (gathered() if how == "gather" else grouped())
        assert bound() == {}
        assert not trace.get_current_span().get_span_context().is_valid

    with capture() as seen:
        asyncio.run(main())
    assert all(found.attributes["tenant_id"] == f"t{found.name[-1]}" for found in seen.spans)
    outcomes = {seen.named(f"task {n}").attributes.get("somatrace.outcome") for n in range(6) if n != 3}
    assert outcomes == ({None} if how == "gather" else {"cancelled"})
    assert seen.named("task 3").status.description == "ValueError"


def test_loop_callbacks_keep_the_tags_of_the_code_that_scheduled_them() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with bind(tenant_id="giver"):
            loop.call_soon(note, "soon")
            loop.call_later(0.001, note, "later")
            loop.call_soon_threadsafe(note, "safe")
            future.add_done_callback(lambda _: note("done"))
        with bind(tenant_id="other"):
            future.set_result(None)
            await asyncio.sleep(0.01)
            await loop.run_in_executor(None, note, "pooled")

    with capture() as seen:
        asyncio.run(main())
    assert {tenant(seen, name) for name in ("soon", "later", "safe", "done")} == {"giver"}
    assert tenant(seen, "pooled") == "other"


def test_pool_map_runs_with_the_callers_tags() -> None:
    with capture() as seen, ThreadPoolExecutor(2) as pool:
        for who in ("a", "b"):
            with bind(tenant_id=who):
                list(pool.map(note, [f"{who} 1", f"{who} 2"]))
        pool.submit(note, "nobody's").result()
    assert {tenant(seen, f"{who} {n}") == who for who in "ab" for n in (1, 2)} == {True}
    assert tenant(seen, "nobody's") == "unknown"


def test_a_stream_closed_by_the_garbage_collector_runs_with_its_own_tenant() -> None:
    @bind(tenant_id="maker")
    @span("stream")
    def stream():
        try:
            yield "piece"
        finally:
            note("last words")

    class Consumer:
        def __init__(self) -> None:
            self.stream = stream()
            self.itself = self

    def use() -> None:
        next(Consumer().stream)

    with capture() as seen, bind(tenant_id="somebody else"):
        use()
        gc.collect()
    assert tenant(seen, "last words") == "maker"


def test_an_abandoned_decorated_stream_ends_its_span_and_leaks_nothing_to_its_consumer() -> None:
    @bind(tenant_id="maker")
    @span("stream")
    async def stream():
        for number in range(5):
            note(f"piece {number}")
            yield number

    async def main() -> None:
        async for number in stream():
            assert bound() == {}
            if number == 1:
                break
        gc.collect()
        await asyncio.sleep(0.01)
        assert bound() == {}
        note("after")

    with capture() as seen:
        asyncio.run(main())
    assert seen.named("stream").attributes["somatrace.outcome"] == "abandoned"
    assert tenant(seen, "piece 1") == "maker"
    assert tenant(seen, "after") == "unknown"
    assert seen.named("after").parent is None


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_stacked_decorators_nest_on_generators_too(kind) -> None:
    def decorated(function):
        return span("outermost")(bind(tenant_id="acme")(span("outer", kind="agent")(span("inner")(function))))

    @decorated
    def numbers(count: int):
        for number in range(count):
            note(f"step {number}")
            yield number

    @decorated
    async def async_numbers(count: int):
        for number in range(count):
            note(f"step {number}")
            yield number

    async def consume() -> list[int]:
        return [number async for number in async_numbers(2)]

    with capture() as seen:
        with pytest.raises(TypeError):
            numbers()
        numbers(3)  # never pulled
        assert (list(numbers(2)) if kind == "sync" else asyncio.run(consume())) == [0, 1]
    assert {tenant(seen, name) for name in ("outer", "inner", "step 0", "step 1")} == {"acme"}
    assert inside(seen, "outer", "outermost")
    assert inside(seen, "inner", "outer")
    assert inside(seen, "step 1", "inner")
    assert seen.named("step 1").attributes["agent_id"] == "outer"
    assert len(seen.spans) == 5


def test_context_managers_and_exit_stacks_keep_the_tags_while_open() -> None:
    @contextlib.asynccontextmanager
    async def session():
        with bind(tenant_id="acme"), span("session"):
            yield

    async def main() -> None:
        async with session():
            note("in session")
        assert bound() == {}
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(session())
            await stack.enter_async_context(bind(run_id="r"))
            await stack.enter_async_context(span("in stack"))
        assert bound() == {}

    with capture() as seen:
        asyncio.run(main())
    assert tenant(seen, "in session") == tenant(seen, "in stack") == "acme"
    assert seen.named("in stack").attributes["run_id"] == "r"


def test_one_span_object_entered_in_separate_contexts_ends_each_time() -> None:
    shared = span("shared")
    rooms = [contextvars.copy_context() for _ in range(3)]
    with capture() as seen:
        for room in rooms:
            room.run(shared.__enter__)
        for _ in rooms:
            shared.__exit__(
                None, None, None
            )  # in a context where none is open, as FastAPI does with sync generators
    assert [found.name for found in seen.spans] == ["shared"] * 3


@pytest.mark.slow
def test_generators_are_wrapped_with_a_wrapt_whose_types_take_no_parameters():
    done = run_program("""
        import wrapt

        class Older(wrapt.FunctionWrapper):  # as before version 2
            __class_getitem__ = None

        wrapt.FunctionWrapper = Older
        from somatrace import span

        @span("numbers")
        def numbers():
            yield 1

        print(list(numbers()))
    """)

    assert done.stdout == "[1]\n"


def test_a_block_that_is_open_while_a_generator_is_created_encloses_what_is_created_in_it() -> None:
    made: list[Any] = []

    @span("inner")
    def inner() -> Any:
        yield 1

    @wrapt.decorator
    def creating(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        with span("creating"):
            made.append(inner())
        return wrapped(*args, **kwargs)

    @span("outer")
    @creating
    def outer() -> Any:
        yield 2

    with capture() as seen:
        assert [*outer(), *made[0]] == [2, 1]

    ids = {found.name: found.context.span_id for found in seen.spans}
    parents = {found.name: found.parent.span_id for found in seen.spans if found.parent}
    assert parents["inner"] == ids["creating"]
