"""Child processes are traced like their parent, by every start method."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import PATIENT, otlp_env, run_program

pytestmark = pytest.mark.slow
METHODS = ("fork", "spawn", "forkserver")
each_method = pytest.mark.parametrize("method", METHODS)

WORK = f"""{PATIENT}
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from somatrace import bind, bound, init_tracing, span

def work(name):
    with span(f"work {{name}}"):
        return dict(bound()).get("tenant_id")

class Worker(multiprocessing.Process):
    def run(self):
        work("subclass")

"""


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


def run(server: OtlpServer, directory: Path, main: str, **env: str) -> str:
    program = (
        WORK
        + "if __name__ == '__main__':\n    init_tracing('parent')\n"
        + textwrap.indent(textwrap.dedent(main), "    ")
    )
    return run_program(program, otlp_env(server.url, **env), directory=directory).stdout


def assert_children(server: OtlpServer, count: int, tenant: str = "acme") -> None:
    spans = server.wait_for(count + 1)
    works = [work for work in spans if work.name.startswith("work")]
    (parent,) = server.named("parent span")
    assert len(works) == count, [work.name for work in spans]
    for work in works:
        assert work.attributes["tenant_id"] == tenant
        assert (work.trace_id, work.parent_id) == (parent.trace_id, parent.span_id)
        assert work.resource["service.name"] == "parent"
        assert work.resource["process.pid"] != parent.resource["process.pid"]
    assert len({work.span_id for work in spans}) == len(spans)


@each_method
def test_a_child_sends_its_spans_under_its_parents_span_and_tenant(server, tmp_path, method: str) -> None:
    run(
        server,
        tmp_path,
        f"""
        context = multiprocessing.get_context({method!r})
        with bind(tenant_id="acme"), span("parent span"):
            children = [context.Process(target=work, args=(number,)) for number in range(2)]
            for child in children: child.start()
            for child in children: child.join()
        assert [child.exitcode for child in children] == [0, 0]
        """,
    )
    assert_children(server, 2)


@each_method
def test_a_child_started_without_a_tenant_stays_without_whatever_its_tasks_continue(
    server, tmp_path, method: str
) -> None:
    out = run(
        server,
        tmp_path,
        f"""
        context = multiprocessing.get_context({method!r})
        with span("parent span", tenant_id="acme"):
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                pool.submit(bound).result()
                with bind(tenant_id=None):
                    print(pool.submit(work, "task").result())
            with bind(tenant_id=None):
                child = context.Process(target=work, args=("child",)); child.start(); child.join()
        """,
    )
    assert out == "None\n"
    server.wait_for(3)
    for name in ("work task", "work child"):
        assert server.named(name)[0].attributes["tenant_id"] == "unknown"


def test_a_subclass_of_process_is_traced(server, tmp_path) -> None:
    run(
        server,
        tmp_path,
        """
        multiprocessing.set_start_method("spawn")
        with bind(tenant_id="acme"), span("parent span"):
            child = Worker(); child.start(); child.join()
        assert "_somatrace_seed" not in vars(child)
        """,
    )
    assert_children(server, 1)


@each_method
def test_tasks_of_a_process_pool_executor_run_in_their_submitters_context(
    server, tmp_path, method: str
) -> None:
    out = run(
        server,
        tmp_path,
        f"""
        context = multiprocessing.get_context({method!r})
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            with bind(tenant_id="acme"), span("parent span"):
                print(pool.submit(work, 1).result(), *pool.map(work, [2, 3]))
            print(pool.submit(bound).result())
        """,
    )
    assert out == "acme acme acme\n{}\n"
    assert_children(server, 3)


@each_method
def test_tasks_of_a_multiprocessing_pool_are_traced_although_its_workers_are_killed(
    server, tmp_path, method: str
) -> None:
    out = run(
        server,
        tmp_path,
        f"""
        context = multiprocessing.get_context({method!r})
        with context.Pool(2) as pool, bind(tenant_id="acme"), span("parent span"):
            print(*pool.map(work, [1, 2]), pool.apply(work, (3,)))
            print(*pool.imap(work, [4]), *pool.starmap(work, [(5,)]))
            print(pool.apply_async(func=work, args=(6,)).get())
        """,
    )
    assert out == "acme acme acme\nacme acme\nacme\n"
    assert_children(server, 6)


def test_a_busy_pool_terminates_at_once(server, tmp_path) -> None:
    run(
        server,
        tmp_path,
        """
        import time
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply_async(time.sleep, (600,))
        """,
    )


def test_unpicklable_tasks_fail_exactly_as_without_tracing(server, tmp_path) -> None:
    main = """
        errors = []
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            errors.append(pool.submit(lambda: 1).exception())
        try: context.Process(target=lambda: 1).start()
        except Exception as error: errors.append(error)
        with context.Pool(1) as pool:
            try: pool.apply(lambda: 1)
            except Exception as error: errors.append(error)
        for error in errors: print(type(error).__name__, str(error).partition(" at 0x")[0])
        """
    assert run(server, tmp_path, main) == run(server, tmp_path, main, SOMATRACE_ENABLED="false") != ""


def test_a_childs_exit_is_bounded_when_the_target_is_unreachable(tmp_path) -> None:
    program = WORK.removeprefix(PATIENT) + textwrap.dedent(
        """
        if __name__ == "__main__":
            init_tracing("parent")
            child = multiprocessing.get_context("fork").Process(target=work, args=(1,))
            child.start()
            child.join(60)
            print(child.exitcode)
        """
    )
    done = run_program(program, otlp_env("http://127.0.0.1:9"), directory=tmp_path, timeout=180)
    assert done.stdout == "0\n"


def test_a_config_given_in_code_applies_in_a_spawned_child(server, tmp_path) -> None:
    program = WORK + textwrap.dedent(
        f"""
        if __name__ == "__main__":
            from somatrace import Config
            init_tracing("parent", config=Config(target="otlp", endpoint={server.traces_url!r}))
            with bind(tenant_id="acme"), span("parent span"):
                child = multiprocessing.get_context("spawn").Process(target=work, args=(1,))
                child.start(); child.join()
        """
    )
    run_program(program, directory=tmp_path)
    assert_children(server, 1)
