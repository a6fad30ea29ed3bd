"""Work in greenlets and in the processes of other libraries keeps its tags and sends its spans."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.otlp_server import otlp_server
from tests.support.programs import PATIENT, otlp_env, run_program

pytestmark = [pytest.mark.slow, pytest.mark.interop]

PROGRAM = (
    PATIENT
    + """
from somatrace import bind, bound, init_tracing, span

def work(number):
    with span(f"work {number}"): return bound().get("tenant_id")

if __name__ == "__main__":
    init_tracing("parent")
"""
)

GREENLETS = """
    import gevent, gevent.pool, gevent.threadpool
    with bind(tenant_id="acme"), span("parent span"):
        seen = [gevent.spawn(work, 1).get(timeout=60), *gevent.pool.Pool(2).map(work, [2, 3])]
        seen.append(gevent.spawn_later(0, work, 4).get(timeout=60))
        seen.append(gevent.threadpool.ThreadPool(1).apply(work, (5,)))
        with gevent.threadpool.ThreadPoolExecutor(1) as pool: seen.append(pool.submit(work, 6).result(60))
    assert seen == ["acme"] * 6, seen
    assert gevent.spawn(bound).get(timeout=60) == {}
    own = __import__("contextvars").ContextVar("own", default="default")
    own.set("changed")
    with bind(tenant_id="acme"): assert gevent.spawn(own.get).get(timeout=60) == "default"
"""
PROCESSES = """
    import multiprocess
    context = multiprocess.get_context(METHOD)
    with bind(tenant_id="acme"), span("parent span"):
        child = context.Process(target=work, args=(1,)); child.start(); child.join()
        with context.Pool(2) as pool:
            assert pool.map(work, [2, 3]) == ["acme"] * 2
            assert pool.map(lambda number: work(number), [4, 5, 6]) == ["acme"] * 3
"""
LOKY = """
    import loky
    with bind(tenant_id="acme"), span("parent span"), loky.ProcessPoolExecutor(2) as pool:
        assert [*pool.map(work, range(1, 6)), pool.submit(work, 6).result(60)] == ["acme"] * 6
"""
CASES = {
    "gevent": ("gevent", GREENLETS),
    "gevent, patched": ("gevent", GREENLETS),
    "multiprocess by fork": ("multiprocess", PROCESSES.replace("METHOD", "'fork'")),
    "multiprocess by spawn": ("multiprocess", PROCESSES.replace("METHOD", "'spawn'")),
    "loky": ("loky", LOKY),
}


@pytest.mark.parametrize("case", CASES)
def test_work_keeps_its_tags_and_its_spans_arrive(case: str, tmp_path: Path) -> None:
    library, main = CASES[case]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: `make interop`")
    first = "import gevent.monkey; gevent.monkey.patch_all()\n" if case.endswith("patched") else ""
    with otlp_server() as server:
        run_program(first + PROGRAM + main, otlp_env(server.url), directory=tmp_path, timeout=280)
        server.wait_for(7)
        works = [span for span in server.spans if span.name.startswith("work")]
        (parent,) = server.named("parent span")
    assert sorted(span.name for span in works) == [f"work {number}" for number in range(1, 7)]
    assert {(span.attributes["tenant_id"], span.parent_id) for span in works} == {("acme", parent.span_id)}
