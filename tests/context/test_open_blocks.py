"""Blocks that end in any order: the tags in force are always those of the blocks that are still open."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace

from somatrace import bind, bound, span
from somatrace.context.open_blocks import layers_from
from somatrace.context.span_state import state_of
from somatrace.context.tags import layers
from somatrace.testing import capture


class Probe:
    """The tenant, user and parent of a span that starts now."""

    def __init__(self) -> None:
        probe = trace.get_tracer("probe").start_span("probe")
        self.parent = probe.parent  # type: ignore[attr-defined]
        state = state_of(probe)
        assert state is not None
        self.tenant = state.tags.tenant
        self.user = state.tags.get("user_id")
        probe.end()


def tenant_now() -> str | None:
    """The tenant of a span that starts now, which is also the bound one."""
    assert Probe().tenant == bound().get("tenant_id")
    return Probe().tenant


# -- a model of blocks in any order --------------------------------------------------------------------------


class Opened:
    """An open block of a kind: what it binds, the span that it makes current, and how to leave it."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind = kind
        self.tenant = f"t{number}" if kind in TENANTS else None
        self.user = f"u{number}" if kind == "user" else None
        self.span: Any = None
        self.leave: Callable[[], object] = getattr(self, f"_{kind}")()

    def _exiting(self, block: Any) -> Callable[[], object]:
        entered = block.__enter__()
        self.span = entered if isinstance(entered, trace.Span) else None
        return lambda: block.__exit__(None, None, None)

    def _bind(self) -> Callable[[], object]:
        return self._exiting(bind(tenant_id=self.tenant))

    def _user(self) -> Callable[[], object]:
        return self._exiting(bind(user_id=self.user))

    def _span(self) -> Callable[[], object]:
        return self._exiting(span("block"))

    def _tenant_span(self) -> Callable[[], object]:
        return self._exiting(span("block", tenant_id=self.tenant))

    def _stack(self) -> Callable[[], object]:
        stack = contextlib.ExitStack()
        stack.enter_context(bind(tenant_id=self.tenant))
        self.span = stack.enter_context(span("block"))
        return stack.close

    def _generator(self) -> Callable[[], object]:
        def steps() -> Generator[trace.Span]:
            with bind(tenant_id=self.tenant), span("block") as entered:
                yield entered

        running = steps()
        self.span = next(running)
        return running.close

    def _otel(self) -> Callable[[], object]:
        attached = trace.get_tracer("library").start_as_current_span("library")
        return self._exiting(attached)

    def _raw(self) -> Callable[[], object]:
        self.span = trace.get_tracer("library").start_span("library")
        token = otel_context.attach(trace.set_span_in_context(self.span))

        def leave() -> None:
            otel_context.detach(token)
            self.span.end()

        return leave


TENANTS = ("bind", "tenant_span", "stack", "generator")
KINDS = (*TENANTS, "user", "span", "otel", "raw")
#: Each step opens a block of a kind, or leaves one of the open ones.
STEPS = st.lists(st.one_of(st.sampled_from(KINDS), st.integers(0, 7)), min_size=1, max_size=14)


def check(open_blocks: list[Opened], ended: list[Opened]) -> None:
    """Check that tags and parent are those of the open blocks, the one entered last taking precedence."""
    expected = next((one.tenant for one in reversed(open_blocks) if one.tenant), None)
    user = next((one.user for one in reversed(open_blocks) if one.user), None)
    assert (bound().get("tenant_id"), bound().get("user_id")) == (expected, user)
    probe = Probe()
    # OpenTelemetry's own blocks return to what was current before them, also if that has ended
    foreign = [one for one in ended if one.kind in {"otel", "raw"}]
    possible = [one for one in (*open_blocks, *foreign) if one.span is not None]
    parent = [one for one in possible if probe.parent and one.span.get_span_context() == probe.parent]
    assert len(parent) == (probe.parent is not None)
    if expected is not None:
        assert probe.tenant == expected
    else:  # a span without tags of its own has the tenant of the blocks that it was started in
        assert probe.tenant in {None, *(state_of(one.span).tags.tenant for one in parent)}


@settings(max_examples=300)
@given(STEPS)
def test_after_any_order_of_exits_the_open_blocks_are_in_force(steps: list[str | int]) -> None:
    def run() -> None:
        open_blocks: list[Opened] = []
        ended: list[Opened] = []
        for number, step in enumerate(steps):
            if isinstance(step, str):
                open_blocks.append(Opened(step, number))
            elif open_blocks:
                one = open_blocks.pop(step % len(open_blocks))
                one.leave()
                ended.append(one)
            check(open_blocks, ended)
        while open_blocks:
            ended.append(open_blocks.pop(0))
            ended[-1].leave()
            check(open_blocks, ended)
        assert layers.get() is None

    with capture():
        contextvars.copy_context().run(run)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["step", "close"])), min_size=1, max_size=20))
def test_blocks_in_decorated_generators_are_in_force_during_their_steps_alone(
    steps: list[tuple[int, str]],
) -> None:
    seen: list[tuple[str | None, str]] = []

    def stream(number: int) -> Iterator[None]:
        @bind(user_id=f"u{number}")
        def work() -> Iterator[None]:
            while True:
                seen.append((tenant_now(), "outer"))
                yield
                with bind(tenant_id=f"t{number}"), span("inside"):
                    seen.append((tenant_now(), f"t{number}"))
                    yield
                    seen.append((tenant_now(), f"t{number}"))
                seen.append((tenant_now(), "outer"))

        return work()

    def run() -> None:
        with bind(tenant_id="outer"):
            running = [stream(number) for number in range(4)]
            for number, step in steps:
                if step == "step":
                    next(running[number], None)
                else:
                    running[number].close()  # type: ignore[attr-defined]
                assert tenant_now() == "outer"
                assert trace.get_current_span() is trace.INVALID_SPAN
        assert bound() == {}

    with capture():
        contextvars.copy_context().run(run)
    assert all(found == expected for found, expected in seen), seen


# -- across contexts -----------------------------------------------------------------------------------------


def test_a_generator_closed_inside_another_tenants_block_leaves_that_one_in_force() -> None:
    def stream() -> Generator[int]:
        with bind(tenant_id="a"), span("stream"):
            yield 1

    with capture():
        running = stream()
        next(running)
        with bind(tenant_id="b"), span("work") as work:
            running.close()
            assert tenant_now() == "b"
            assert Probe().parent.span_id == work.get_span_context().span_id
        assert tenant_now() is None
        assert Probe().parent is None


def test_an_async_generator_finalized_by_the_loop_leaves_nothing_bound() -> None:
    found: list[tuple[object, object]] = []

    async def stream() -> AsyncGenerator[int]:
        with bind(tenant_id="a"), span("stream"):
            yield 1
            yield 2

    async def main() -> None:
        running = stream()
        async for _ in running:
            break
        del running
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        found.append((tenant_now(), Probe().parent))

    with capture():
        asyncio.run(main())
    assert found == [(None, None)]


def test_a_block_left_in_another_task_is_in_force_in_neither() -> None:
    found: list[object] = []

    async def main() -> None:
        block = span("work", tenant_id="a")
        block.__enter__()

        async def leave() -> None:
            block.__exit__(None, None, None)
            found.append((tenant_now(), Probe().parent))

        await asyncio.create_task(leave())
        found.append((tenant_now(), Probe().parent))
        with bind(tenant_id="b"):
            found.append(tenant_now())
        found.append((tenant_now(), Probe().parent))

    with capture():
        asyncio.run(main())
    assert found == [(None, None), (None, None), "b", (None, None)]


def test_a_block_entered_in_a_thread_with_a_copied_context_and_left_in_another() -> None:
    block = bind(tenant_id="a")
    found: list[object] = []

    def in_a_thread(run: Callable[[], object]) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(lambda: (run(), found.append(tenant_now()))))
        thread.start()
        thread.join()

    with capture(), bind(tenant_id="b"):
        in_a_thread(block.__enter__)
        in_a_thread(lambda: block.__exit__(None, None, None))
        found.append(tenant_now())
    assert found == ["a", "b", "b"]
    assert bound() == {}


@pytest.mark.parametrize("first", [True, False])
def test_a_task_keeps_the_tenant_of_the_block_it_was_started_in(first: bool) -> None:
    found: list[object] = []

    async def work(started: asyncio.Event, ended: asyncio.Event) -> None:
        started.set()
        await ended.wait()
        found.append(tenant_now())
        with bind(user_id="7"):
            found.append((tenant_now(), Probe().user))
        found.append(tenant_now())

    async def main() -> None:
        started, ended = asyncio.Event(), asyncio.Event()
        below, above = bind(tenant_id="a"), bind(tenant_id="b")
        below.__enter__()
        above.__enter__()
        task = asyncio.create_task(work(started, ended))
        await started.wait()
        for block in (below, above) if first else (above, below):
            block.__exit__(None, None, None)
        ended.set()
        await task
        assert tenant_now() is None

    with capture():
        asyncio.run(main())
    assert found == ["b", ("b", "7"), "b"]


def test_a_thread_that_gets_the_trace_context_alone_inherits_the_tenant_of_its_span() -> None:
    found: list[object] = []

    def work(context: otel_context.Context) -> None:
        token = otel_context.attach(context)
        found.append(Probe().tenant)
        otel_context.detach(token)
        found.append(Probe().tenant)

    with capture():
        with span("work", tenant_id="a"):
            context = otel_context.get_current()
        running = threading.Thread(target=contextvars.Context().run, args=(work, context))
        running.start()
        running.join()
    assert found == ["a", None]


def test_tags_that_an_ended_block_lent_to_an_inner_one_end_with_it() -> None:
    with capture():
        outer, inner = bind(tenant_id="a"), bind(user_id="7")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        assert bound() == {"user_id": "7"}
        inner.__exit__(None, None, None)
    assert bound() == {}


def test_leaving_a_block_twice_or_without_entering_it_changes_nothing() -> None:
    with capture(), bind(tenant_id="a"):
        block = bind(tenant_id="b")
        block.__exit__(None, None, None)
        with block:
            pass
        block.__exit__(None, None, None)
        assert tenant_now() == "a"


def test_an_object_entered_twice_and_by_other_tasks_leaves_its_own_entries() -> None:
    shared = bind(tenant_id="shared")

    async def work(number: int) -> None:
        with bind(tenant_id=f"t{number}"):
            shared.__enter__()
            with bind(tenant_id="inner"):
                await asyncio.sleep(0)
                shared.__exit__(None, None, None)
                assert tenant_now() == "inner"
            assert tenant_now() == f"t{number}"

    async def main() -> None:
        await asyncio.gather(*map(work, range(5)))

    with capture():
        asyncio.run(main())


def test_tasks_that_each_start_the_next_one_do_not_keep_the_blocks_of_all_before_them() -> None:
    depths: list[int] = []
    refs: list[int] = []

    async def relay(left: int, done: asyncio.Event) -> None:
        await asyncio.sleep(0)
        with bind(tenant_id=f"t{left}"), span("relay"):
            depths.append(len(list(layers_from(layers.get()))))
            refs.append(_reachable_contexts(otel_context.get_current()))
            if left:
                asyncio.create_task(relay(left - 1, done))  # noqa: RUF006 - the loop runs until it is done
                return
        done.set()

    async def main() -> None:
        done = asyncio.Event()
        await relay(60, done)
        await done.wait()

    with capture():
        asyncio.run(main())
    assert max(depths) <= 4
    assert max(refs) <= 8


def test_blocks_that_are_entered_for_each_job_and_never_left_do_not_add_up() -> None:
    def run() -> None:
        with bind(tenant_id="a"):
            for number in range(200):
                bind(tenant_id=f"t{number}", user_id="7").__enter__()
                assert tenant_now() == f"t{number}"
            with bind(tenant_id="b"):
                assert tenant_now() == "b"
                assert len(list(layers_from(layers.get()))) <= 4
            assert tenant_now() == "t199"
        assert bound() == {}

    with capture():
        contextvars.copy_context().run(run)


def _reachable_contexts(context: object) -> int:
    """The trace contexts that one keeps alive."""
    seen: set[int] = set()
    waiting = [context]
    count = 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, trace.Span)) or type(one).__name__ == "module":
            continue
        seen.add(id(one))
        count += isinstance(one, otel_context.Context)
        if type(one).__module__.startswith(("somatrace", "opentelemetry", "_contextvars", "builtins")):
            if callable(one) and not hasattr(one, "_tags"):
                continue
            waiting.extend(gc.get_referents(one))
    return count


def test_async_blocks_that_end_in_any_order_keep_their_own_span() -> None:
    @contextlib.asynccontextmanager
    async def opened(name: str) -> AsyncIterator[Any]:
        async with bind(tenant_id=name), span(name) as one:
            yield one

    async def main() -> None:
        first, second = opened("a"), opened("b")
        await first.__aenter__()
        inner = await second.__aenter__()
        await first.__aexit__(None, None, None)
        assert tenant_now() == "b"
        assert Probe().parent.span_id == inner.get_span_context().span_id
        await second.__aexit__(None, None, None)
        assert tenant_now() is None
        assert Probe().parent is None

    with capture():
        asyncio.run(main())


def test_a_context_made_in_a_block_and_attached_after_it_is_not_below_the_block() -> None:
    def run() -> None:
        with bind(tenant_id="acme"), span("block"):
            made = otel_context.set_value("library", 1)
        token = otel_context.attach(made)
        assert Probe().parent is None
        otel_context.detach(token)

    with capture():
        contextvars.copy_context().run(run)


def test_the_context_of_a_block_that_is_attached_after_it_is_not_below_the_block() -> None:
    def run() -> None:
        with span("outer") as outer:
            with span("block"):
                kept = otel_context.get_current()
            token = otel_context.attach(kept)
            assert Probe().parent == outer.get_span_context()
            otel_context.detach(token)

    with capture():
        contextvars.copy_context().run(run)


def test_a_context_of_a_block_that_another_context_shares_stays_there() -> None:
    def run() -> None:
        with bind(tenant_id="acme"), span("block") as block:
            task = contextvars.copy_context()
        assert task.run(lambda: Probe().parent) == block.get_span_context()
        assert Probe().parent is None

    with capture():
        contextvars.copy_context().run(run)
