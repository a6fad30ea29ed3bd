"""Tags and trace context follow work to threads and pools, for that piece of work only."""

from __future__ import annotations

import asyncio
import functools
import gc
import multiprocessing.pool
import threading
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from somatrace import bind, bound, span
from somatrace.instrumentation.concurrency import threads
from somatrace.instrumentation.import_hooks import wrap_method
from somatrace.testing import capture

OWN: ContextVar[str] = ContextVar("own", default="default")


@pytest.fixture(autouse=True, scope="module")
def _traced() -> None:
    with capture():
        pass


def current_context() -> tuple[object, str]:
    return bound().get("tenant_id"), format(trace.get_current_span().get_span_context().span_id, "016x")


def by_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_timer(work) -> None:
    timer = threading.Timer(0, work)
    timer.start()
    timer.join()


def by_subclass(work) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            work()

    worker = Worker()
    worker.start()
    worker.join()


def by_executor(work) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def by_map(work) -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(lambda _: work(), [1]))


def by_loop(work) -> None:
    async def run() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(run())


def by_to_thread(work) -> None:
    asyncio.run(asyncio.to_thread(work))


def by_thread_pool(work) -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.apply(work)


WAYS = [by_thread, by_timer, by_subclass, by_executor, by_map, by_loop, by_to_thread, by_thread_pool]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_work_on_another_thread_keeps_its_tenant_and_span(way) -> None:
    contexts = []
    with bind(tenant_id="acme"), span("parent"):
        expected = current_context()
        way(lambda: contexts.append(current_context()))
    assert contexts == [expected]
    assert expected[0] == "acme"
    assert current_context() == (None, "0" * 16)


def test_the_programs_own_context_variables_are_not_propagated() -> None:
    contexts = []
    OWN.set("changed")
    with bind(tenant_id="acme"):
        by_thread(lambda: contexts.append(OWN.get()))
        by_executor(lambda: contexts.append(OWN.get()))
    assert contexts == ["default", "default"]


def test_a_pools_thread_drops_the_tenant_after_each_task() -> None:
    with ThreadPoolExecutor(1) as pool:
        with bind(tenant_id="acme"):
            assert pool.submit(current_context).result()[0] == "acme"
        assert pool.submit(current_context).result()[0] is None
        with bind(tenant_id="globex"):
            assert pool.submit(current_context).result()[0] == "globex"
    with bind(tenant_id="acme"):
        pool2 = multiprocessing.pool.ThreadPool(1)
    try:
        assert pool2.apply(current_context)[0] is None
    finally:
        pool2.terminate()


def test_a_running_thread_object_has_no_shadowed_run_method() -> None:
    seen = []
    with bind(tenant_id="acme"):
        thread = threading.Thread(target=lambda: seen.append("run" in vars(thread)))
        thread.start()
        thread.join()
    assert seen == [False]


class ReadOnlyRun(threading.Thread):
    def __init__(self, work) -> None:
        super().__init__()
        self.work = work

    @property
    def run(self):
        return self.work


class Restricted(threading.Thread):
    """A thread that accepts the attributes of `Thread` only."""

    __slots__ = ("work",)

    def __init__(self, work) -> None:
        self.work = work
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "run":
            raise AttributeError(f"{name} is read-only")
        super().__setattr__(name, value)

    def run(self) -> None:
        self.work()


class StaticRun(threading.Thread):
    seen: ClassVar[list[object]] = []

    @staticmethod
    def run() -> None:
        StaticRun.seen.append(bound().get("tenant_id"))


class BrokenModule:
    """A target whose module cannot be read."""

    def __init__(self, work) -> None:
        self.work = work

    def __call__(self) -> None:
        self.work()

    def __getattribute__(self, name: str) -> object:
        if name == "__module__":
            raise LookupError(name)
        return super().__getattribute__(name)


def test_a_thread_whose_run_cannot_be_shadowed_runs_as_without_tracing() -> None:
    ran = []
    with bind(tenant_id="acme"):
        for thread in (
            ReadOnlyRun(lambda: ran.append("property")),
            threading.Thread(target=BrokenModule(lambda: ran.append("target"))),
        ):
            thread.start()
            thread.join()
    assert ran == ["property", "target"]


def test_a_thread_that_restricts_its_attributes_keeps_its_tenant() -> None:
    tenants = []
    with bind(tenant_id="acme"):
        threads = [Restricted(lambda: tenants.append(bound().get("tenant_id"))), StaticRun()]
        for thread in threads:
            thread.start()
            thread.join()
    assert tenants == StaticRun.seen == ["acme"]


def test_a_shadowed_run_method_can_be_called_in_every_form_of_a_method() -> None:
    def in_form(call) -> list[object]:
        class Starter(threading.Thread):
            def _bootstrap(self) -> None:
                call(self.run)
                super()._bootstrap()

            def run(self) -> None:
                tenants.append(bound().get("tenant_id"))

        tenants: list[object] = []
        thread = Starter()
        with bind(tenant_id="acme"):
            thread.start()
            thread.join()
        return tenants

    assert in_form(lambda run: run()) == ["acme", None]
    assert in_form(lambda run: run.__func__(run.__self__)) == ["acme", None]
    assert in_form(lambda run: types.MethodType(run.__func__, run.__self__)()) == ["acme", None]
    assert in_form(lambda run: functools.wraps(run)(functools.partial(run))()) == ["acme", None]


def test_a_thread_that_cannot_start_keeps_no_shadow() -> None:
    with bind(tenant_id="acme"):
        thread = threading.Thread(target=print, daemon=True)
        del thread._started
        with pytest.raises(AttributeError):
            thread.start()
    assert "run" not in vars(thread)


def test_a_thread_can_be_started_only_once() -> None:
    tenants, release = [], threading.Event()

    def work() -> None:
        release.wait(60)
        tenants.append(bound().get("tenant_id"))

    thread = threading.Thread(target=work)
    with bind(tenant_id="acme"):
        thread.start()
    with bind(tenant_id="globex"), pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    release.set()
    thread.join()
    assert tenants == ["acme"]
    assert "run" not in vars(thread)


def test_a_finished_thread_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        with bind(tenant_id="acme"):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
        freed = weakref.ref(thread)
        del thread
        assert freed() is None
    finally:
        gc.enable()


def test_a_submitted_function_shows_its_name_to_other_tools() -> None:
    names = []

    class Pool(ThreadPoolExecutor):
        """Wrapped below, as by a tool that came before."""

    submit = ThreadPoolExecutor.submit.__wrapped__

    def noting(pool, function, *args):
        names.append((function.__name__, function.__qualname__))
        return submit(pool, function, *args)

    Pool.submit = noting
    wrap_method(Pool, "submit", threads.submit_in_context)
    with Pool(1) as pool, bind(tenant_id="acme"):
        assert pool.submit(current_context).result()[0] == "acme"
    assert names == [("current_context", "current_context")]


def test_invalid_submissions_fail_as_without_tracing() -> None:
    with ThreadPoolExecutor(1) as pool, bind(tenant_id="acme"):
        with pytest.raises(TypeError):
            pool.submit()
        with pytest.raises(TypeError, match="'int' object is not callable"):
            pool.submit(7).result()
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["task", "thread", "nested"])),
        max_size=12,
    )
)
@settings(max_examples=30, deadline=None)
def test_interleaved_tenants_never_mix_over_tasks_and_threads(jobs: list[tuple[str | None, str]]) -> None:
    def check(tenant: str | None) -> bool:
        with span("work"):
            return bound().get("tenant_id") == tenant

    async def job(pool: ThreadPoolExecutor, tenant: str | None, way: str) -> bool:
        with bind(tenant_id=tenant):
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            if way == "thread":
                return await loop.run_in_executor(pool, check, tenant)
            if way == "nested":
                return (await loop.run_in_executor(pool, lambda: other.submit(check, tenant))).result()
            cancelled = asyncio.ensure_future(asyncio.sleep(10))
            await asyncio.sleep(0)
            cancelled.cancel()
            return check(tenant)

    async def run_all() -> list[bool]:
        with ThreadPoolExecutor(2) as pool:
            return await asyncio.gather(*(job(pool, tenant, way) for tenant, way in jobs))

    with ThreadPoolExecutor(2) as other:
        assert all(asyncio.run(run_all()))
    assert bound() == {}
