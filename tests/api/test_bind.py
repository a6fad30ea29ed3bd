"""`bind` and `bound`: every span has the right tenant, across tasks, threads and generators."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from somatrace import bind, bound, outgoing, span, status
from somatrace.propagation import message_headers, received
from somatrace.testing import assert_tags, capture


def test_every_span_in_the_block_has_the_tags_in_plain_and_langfuse_form() -> None:
    with capture() as seen, bind(tenant_id="acme", session_id="s1", user_id="u1"), span("w", kind="workflow"):
        trace.get_tracer("library").start_span("third_party").end()
    for found in seen.spans:
        attributes = found.attributes
        assert attributes["tenant_id"] == attributes["langfuse.trace.metadata.tenant_id"] == "acme"
        assert attributes["langfuse.trace.name"] == attributes["workflow_name"] == "w"
        assert attributes["session.id"] == "s1"
        assert attributes["user.id"] == "u1"
        assert attributes["langfuse.trace.tags"] == ("tenant:acme", "workflow:w", "agent:test")


def test_inner_tags_override_outer_ones_and_end_with_the_block() -> None:
    with bind(tenant_id="acme", job_id="1"):
        with bind(job_id="2", run_id="r"):
            assert bound() == {"tenant_id": "acme", "job_id": "2", "run_id": "r"}
        with bind(job_id=None):
            assert bound() == {"tenant_id": "acme"}
        assert bound() == {"tenant_id": "acme", "job_id": "1"}
    assert bound() == {}


def test_a_span_without_a_bound_tenant_has_the_unknown_tenant() -> None:
    with capture() as seen, span("alone"):
        pass
    assert seen.named("alone").attributes["tenant_id"] == "unknown"
    assert seen.named("alone").attributes["workflow_name"] == "alone"


def test_spans_without_a_tenant_are_counted() -> None:
    with capture():
        pass
    before = status().unknown_tenant
    with capture(), span("alone"), bind(tenant_id="acme"), span("hers"):
        pass
    with capture(), span("alone again"):
        pass
    assert status().unknown_tenant - before == 1


def test_a_consumer_loop_does_not_leak_one_jobs_tenant_into_the_next() -> None:
    with capture() as seen, span("loop"):
        for number, tenant in enumerate(["a", None, "b", None]):
            if tenant is None:
                with span(f"job{number}"):
                    pass
            else:
                with bind(tenant_id=tenant), span(f"job{number}"):
                    pass
    assert [seen.named(f"job{n}").attributes["tenant_id"] for n in range(4)] == [
        "a",
        "unknown",
        "b",
        "unknown",
    ]


def test_binding_inside_an_open_local_root_labels_it() -> None:
    with capture() as seen, span("request"), bind(tenant_id="acme"), span("child"):
        pass
    assert seen.named("request").attributes["tenant_id"] == "acme"


def test_work_streamed_after_the_block_keeps_the_requests_tenant() -> None:
    tracer = trace.get_tracer("server")
    with capture() as seen, tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER):
        with bind(tenant_id="acme"):
            pass
        with span("streamed later"):
            pass
    assert_tags(seen, tenant_id="acme")


def test_an_attribute_set_by_a_library_does_not_change_the_tenant() -> None:
    with capture() as seen, bind(tenant_id="acme"), span("work") as work:
        work.set_attribute("tenant_id", "globex")
        work.set_attribute("langfuse.trace.metadata.tenant_id", "globex")
    assert_tags(seen, tenant_id="acme")
    assert seen.named("work").attributes["langfuse.trace.metadata.tenant_id"] == "acme"


def test_innermost_agent_and_outermost_workflow_are_derived_and_bound_tags_win() -> None:
    with capture() as seen, span("order", kind="workflow"), span("planner", kind="agent"):
        with span("nested", kind="workflow"), span("researcher", kind="agent"), span("search"):
            pass
        with bind(agent_id="fixed"), span("writer", kind="agent"):
            pass
    assert seen.named("search").attributes["workflow_name"] == "order"
    assert seen.named("search").attributes["agent_id"] == "researcher"
    assert seen.named("writer").attributes["agent_id"] == "fixed"
    assert seen.named("order").attributes["agent_id"] == "test"


def test_known_tags_given_to_span_are_bound_for_the_block() -> None:
    with capture() as seen, span("plan", agent_id="planner", tenant_id="acme"), span("inner"):
        pass
    assert_tags(seen, agent_id="planner", tenant_id="acme")


def test_a_decorated_function_has_the_tags_only_during_calls() -> None:
    @bind(tenant_id="acme")
    def work() -> dict[str, object]:
        return bound()

    assert work() == {"tenant_id": "acme"}
    assert bound() == {}


def test_a_decorated_generator_has_the_tags_only_during_its_steps() -> None:
    @bind(tenant_id="acme")
    def numbers():
        yield bound()
        yield bound()

    with bind(tenant_id="consumer"):
        for step in numbers():
            assert step["tenant_id"] == "acme"
            assert bound()["tenant_id"] == "consumer"


@pytest.mark.parametrize(
    "tags",
    [
        {"tenant_id": "x" * 201},
        {"tenant_id": "line\nbreak"},
        {"tenant_id": object()},
        {"tenant_id": 2**70},
        {"run_number": 2**70},
        {"tenant_id": ""},
        {"user_id": " "},
        {"bad name!": "x"},
        {"langfuse.user.id": "x"},
        {"": "x"},
    ],
)
def test_an_invalid_tag_is_skipped_and_the_program_continues(tags) -> None:
    with bind(run_id="r", **tags):
        assert bound() == {"run_id": "r"}


#: No tenant, each in the form in which a program might say it by accident.
NO_TENANT = [None, "", " ", "x" * 201, "line\nbreak", b"bytes", 7, 1.5, True, object()]


@pytest.mark.parametrize("given", NO_TENANT)
def test_no_tenant_does_not_inherit_that_of_an_enclosing_block(given) -> None:
    with capture() as seen, bind(tenant_id="acme"):
        with bind(tenant_id=given, run_id="r"), span("bound"):
            pass
        with span("said at once", tenant_id=given, user_id="u"):
            pass
    for name, tag in (("bound", "run_id"), ("said at once", "user_id")):
        attributes = seen.named(name).attributes
        assert (attributes["tenant_id"], tag in attributes) == ("unknown", True)


@pytest.mark.parametrize("given", NO_TENANT)
def test_no_tenant_does_not_inherit_that_of_an_open_span(given) -> None:
    with capture() as seen, span("hers", tenant_id="acme"):
        with bind(tenant_id=given):
            assert "x-somatrace-tags" not in outgoing()
            with span("nobody's"):
                assert "x-somatrace-tags" not in outgoing()
                with received(message_headers()):
                    assert "tenant_id" not in bound()
                trace.get_tracer("library").start_span("below").end()
        with span("nobody's at once", tenant_id=given):
            pass
        with span("hers again"):
            pass
    tenants = {found.name: found.attributes["tenant_id"] for found in seen.spans}
    assert tenants == {
        "hers": "acme",
        "nobody's": "unknown",
        "below": "unknown",
        "nobody's at once": "unknown",
        "hers again": "acme",
    }


def test_in_a_request_no_tenant_does_not_inherit_from_blocks_before_and_around_it() -> None:
    tracer = trace.get_tracer("server")
    with capture() as seen, tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER):
        with bind(tenant_id="acme"):
            pass
        with bind(tenant_id=None), span("after her block"):
            pass
        with bind(tenant_id="globex"):
            with bind(tenant_id=None), span("inside another's"), span("below"):
                pass
            with span("globex's"):
                pass
    tenants = {found.name: found.attributes["tenant_id"] for found in seen.spans}
    assert tenants["POST"] == "several"
    assert {tenants[name] for name in ("after her block", "inside another's", "below")} == {"unknown"}
    assert tenants["globex's"] == "globex"


def test_no_tenant_holds_in_threads_pools_tasks_and_generators_created_inside() -> None:
    def work() -> None:
        with span("elsewhere"):
            pass

    async def task() -> None:
        await asyncio.to_thread(work)
        await asyncio.create_task(asyncio.sleep(0))
        work()

    @span("generated")
    def pieces():
        work()
        yield

    with capture() as seen, span("hers", tenant_id="acme"):
        with bind(tenant_id=None):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join(60)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(work).result(60)
            asyncio.run(task())
            running = pieces()
        list(running)
    others = [found for found in seen.spans if found.name != "hers"]
    assert len(others) == 6
    assert {found.attributes["tenant_id"] for found in others} == {"unknown"}


def test_work_without_a_tenant_is_unknown_where_its_root_is_a_tenants_label() -> None:
    with capture() as seen, span("nobody's", tenant_id=None), bind(tenant_id="acme"), span("hers"):
        pass
    assert seen.named("nobody's").attributes["tenant_id"] == "unknown"
    assert seen.named("hers").attributes["tenant_id"] == "acme"


def test_a_tenant_is_bound_again_below_no_tenant() -> None:
    with capture() as seen, bind(tenant_id=None), bind(run_id="r"), bind(tenant_id="acme"), span("hers"):
        pass
    assert seen.named("hers").attributes["tenant_id"] == "acme"


class Chameleon(str):
    """A text that claims to be any other one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("tenant_id")

    def __len__(self) -> int:
        return 3

    def isprintable(self) -> bool:
        return True

    def strip(self, _: object = None) -> str:
        return "x"


def test_a_text_that_claims_to_be_any_other_one_is_bound_as_the_plain_text_it_holds() -> None:
    with bind(tenant_id=Chameleon("evil"), run_id=Chameleon("r")):
        assert [(type(value), value) for value in bound().values()] == [(str, "evil"), (str, "r")]
    with bind(tenant_id=Chameleon("x" * 300)), bind(**{Chameleon("run_id"): "acme"}):
        assert bound() == {"run_id": "acme"}
    with capture() as seen, span("work", **{Chameleon("run"): "acme"}):
        pass
    assert seen.named("work").attributes["tenant_id"] == "unknown"


def test_known_tags_are_kept_when_there_are_too_many() -> None:
    with bind(**{f"extra{number}": number for number in range(40)}, tenant_id="acme", user_id="u"):
        tags = bound()
    assert (tags["tenant_id"], tags["user_id"], len(tags)) == ("acme", "u", 32)


def test_a_repeated_bad_tag_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "somatrace"):
        for _ in range(5):
            with bind(flood_tag="x" * 300):
                pass
    assert len([record for record in caplog.records if "flood_tag" in record.message]) == 1


def test_a_with_block_in_an_async_generator_finished_in_another_task_never_raises() -> None:
    async def numbers():
        with bind(tenant_id="acme"), span("inside"):
            yield 1
            yield 2

    async def run() -> None:
        running = numbers()
        assert await asyncio.create_task(anext(running)) == 1
        await asyncio.create_task(running.aclose())

    with capture():
        asyncio.run(run())
    assert bound() == {}


def test_tasks_inherit_tags_and_keep_their_own() -> None:
    async def work(tenant: str, pause: float) -> None:
        with bind(tenant_id=tenant):
            await asyncio.sleep(pause)
            with span(f"of-{tenant}"):
                await asyncio.sleep(pause)

    async def run() -> None:
        await asyncio.gather(*(work(f"t{n}", 0.001 * (n % 3)) for n in range(12)))

    with capture() as seen:
        asyncio.run(run())
    assert all(found.name == f"of-{found.attributes['tenant_id']}" for found in seen.spans)
    assert len(seen.spans) == 12


TENANTS = st.sampled_from(["a", "b", "c", None])
#: The actions of one worker: bind, spans, exceptions, pauses, cancellations, a generator pulled step by step.
STEPS = st.lists(
    st.sampled_from(["span", "raise", "pause", "generator", "abandon", "cancel", "rebind", "thread"]),
    min_size=1,
    max_size=6,
)


@given(st.lists(st.tuples(TENANTS, STEPS), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_interleaved_tenants_never_mix(  # noqa: C901, PLR0915 - one step per way to interleave
    workers: list[tuple[str | None, list[str]]],
) -> None:
    @span("generated")
    async def pieces(owner: str):
        for _ in range(2):
            with span("piece", owner=owner):
                yield 1

    async def act(step: str, owner: str) -> None:
        if step == "pause":
            await asyncio.sleep(0)
        elif step == "raise":
            try:
                with span("failing", owner=owner):
                    await asyncio.sleep(0)
                    raise ValueError
            except ValueError:
                pass
        elif step == "generator":
            async for _ in pieces(owner):
                await asyncio.sleep(0)
        elif step == "abandon":
            stream = pieces(owner)
            await anext(stream)
            await stream.aclose()
        elif step == "cancel":
            task = asyncio.create_task(endless(owner))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif step == "rebind":
            with bind(tenant_id="inner"), span("inner", owner="inner"):
                await asyncio.sleep(0)
        elif step == "thread":
            await asyncio.to_thread(in_thread, owner)
        else:
            with span("plain", owner=owner):
                await asyncio.sleep(0)

    async def endless(owner: str) -> None:
        with span("cancelled", owner=owner):
            await asyncio.sleep(60)

    def in_thread(owner: str) -> None:
        with span("threaded", owner=owner):
            pass

    async def work(tenant: str | None, steps: list[str]) -> None:
        with bind(tenant_id=tenant):
            for step in steps:
                await act(step, tenant or "unknown")

    async def run() -> None:
        tasks = [asyncio.create_task(work(*worker)) for worker in workers]
        if len(tasks) > 3:
            tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with capture() as seen:
        asyncio.run(run())
        with span("another tenant's", tenant_id="around"):
            asyncio.run(run())
    owned = [found for found in seen.spans if "owner" in found.attributes]
    assert [found.attributes["tenant_id"] for found in owned] == [
        found.attributes["owner"] for found in owned
    ]


@given(st.lists(st.tuples(TENANTS, st.integers(0, 4)), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_pooled_threads_do_not_leak_tenants(jobs: list[tuple[str | None, int]]) -> None:
    def work(tenant: str | None, spans: int) -> None:
        with bind(tenant_id=tenant):
            for _ in range(spans):
                with span("work", owner=tenant or "unknown"):
                    pass
        with span("after", owner="unknown"):
            pass

    with capture() as seen, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda job: work(*job), jobs))
    assert all(found.attributes["tenant_id"] == found.attributes["owner"] for found in seen.spans)


def test_one_bind_object_entered_by_many_threads_at_once_leaks_nothing() -> None:
    shared = bind(tenant_id="acme")
    gate = threading.Barrier(4)
    left: list[dict[str, object]] = []

    def work() -> None:
        with shared:
            gate.wait(60)
        left.append(bound())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert left == [{}] * 4
