"""With a real broker, Celery tasks run in their sender's context and leave nothing behind for the next."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import PATIENT, otlp_env, run_program
from tests.support.redis_server import redis_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]

TASKS = """
import os
from celery import Celery
from somatrace import bind, bound, init_tracing, span
init_tracing("tasks")
if "TASKS_TENANT" in os.environ:
    bind(tenant_id=os.environ["TASKS_TENANT"]).__enter__()
app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)

@app.task
def work(name):
    with span(f"work {name}"):
        return dict(bound()).get("tenant_id")

@app.task
def fails():
    raise LookupError("secret")

@app.task(bind=True, max_retries=1)
def retried(self):
    if not self.request.retries:
        raise self.retry(countdown=0)
    with span("second attempt"):
        return dict(bound()).get("tenant_id")
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield f"redis+socket://{address}"


@pytest.fixture
def server() -> Iterator[OtlpServer]:
    with otlp_server() as running:
        yield running


@contextmanager
def worker(
    server: OtlpServer, broker: str, directory: Path, *options: str, env: dict[str, str] | None = None
) -> Iterator[None]:
    (directory / "tasks.py").write_text(PATIENT + TASKS)
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel=error", *options]
    environment = {**os.environ, **otlp_env(server.url), "BROKER": broker, **(env or {})}
    log = directory / "worker.log"
    with (
        log.open("w") as sink,
        subprocess.Popen(command, cwd=directory, env=environment, stdout=sink, stderr=sink) as process,
    ):
        try:
            yield
        finally:
            process.terminate()  # a warm shutdown, as operators do it
            process.wait(60)
    print(log.read_text())


def send(server: OtlpServer, broker: str, directory: Path, source: str) -> str:
    program = "from tasks import *\nfrom somatrace import bind\n" + textwrap.dedent(source)
    return run_program(program, {**otlp_env(server.url), "BROKER": broker}, directory=directory).stdout


@pytest.mark.parametrize(
    "pool",
    [
        ("--pool=solo",),
        ("--concurrency=1",),
        ("--concurrency=1", "--max-tasks-per-child=1"),
        ("--pool=threads",),
    ],
    ids=" ".join,
)
def test_tasks_have_their_senders_tenant_and_trace_and_leave_nothing_behind(
    server, broker, tmp_path, pool
) -> None:
    with worker(server, broker, tmp_path, *pool):
        out = send(
            server,
            broker,
            tmp_path,
            """
            with bind(tenant_id="acme"), span("sender"):
                first = work.delay(1).get(timeout=60)
            second = work.delay(2).get(timeout=60)
            with bind(tenant_id="globex"):
                third = work.delay(3).get(timeout=60)
            print(first, second, third)
            """,
        )
    assert out == "acme None globex\n"
    server.wait_for(7)
    (sender,) = server.named("sender")
    runs = {run.attributes["tenant_id"]: run for run in server.named("tasks.work")}
    assert set(runs) == {"acme", "unknown", "globex"}
    assert (runs["acme"].trace_id, runs["acme"].parent_id) == (sender.trace_id, sender.span_id)
    assert len({run.trace_id for run in runs.values()}) == 3
    for number, tenant in ((1, "acme"), (2, "unknown"), (3, "globex")):
        (inside,) = server.named(f"work {number}")
        assert inside.attributes["tenant_id"] == tenant
        assert inside.parent_id == runs[tenant].span_id
        assert inside.attributes["workflow_name"] == "tasks.work"
    assert runs["acme"].kind == 5  # CONSUMER
    assert runs["acme"].attributes["messaging.system"] == "celery"
    assert runs["acme"].attributes["messaging.destination.name"] == "celery"


def test_a_task_sent_without_a_tenant_does_not_get_the_workers_own(server, broker, tmp_path) -> None:
    with worker(server, broker, tmp_path, "--pool=solo", env={"TASKS_TENANT": "workers"}):
        out = send(
            server,
            broker,
            tmp_path,
            """
            with span("sender", tenant_id="acme"), bind(tenant_id=None):
                first = work.delay("for none").get(timeout=60)
            second = work.delay("not said").get(timeout=60)
            print(first, second)
            """,
        )
    assert out == "None workers\n"
    server.wait_for(5)
    found = {
        name: server.named(f"work {name}")[0].attributes["tenant_id"] for name in ("for none", "not said")
    }
    assert found == {"for none": "unknown", "not said": "workers"}


def test_failures_are_recorded_without_their_text_and_a_retry_keeps_the_tenant(
    server, broker, tmp_path
) -> None:
    with worker(server, broker, tmp_path, "--pool=solo"):
        out = send(
            server,
            broker,
            tmp_path,
            """
            with bind(tenant_id="acme"), span("sender"):
                try: fails.delay().get(timeout=60)
                except LookupError as error: print("raised:", error)
                print(retried.delay().get(timeout=60))
            """,
        )
    assert out == "raised: secret\nacme\n"
    server.wait_for(5)
    (failed,) = server.named("tasks.fails")
    assert failed.status_code == 2
    assert failed.attributes["error.type"] == "LookupError"
    assert b"secret" not in server.bytes
    assert server.named("second attempt")[0].attributes["tenant_id"] == "acme"
    assert {run.status_code for run in server.named("tasks.retried")} == {0}


def test_an_eager_task_runs_in_its_callers_context(server, broker, tmp_path) -> None:
    (tmp_path / "tasks.py").write_text(PATIENT + TASKS)
    out = send(
        server,
        broker,
        tmp_path,
        """
        app.conf.task_always_eager = True
        with bind(tenant_id="acme"), span("sender"):
            print(work.delay(1).get())
            print(bound()["tenant_id"])
        """,
    )
    assert out == "acme\nacme\n"
    server.wait_for(3)
    (run,) = server.named("tasks.work")
    assert run.parent_id == server.named("sender")[0].span_id
