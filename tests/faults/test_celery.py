"""Workers of Celery that are killed while the target is away: what they left on disk arrives."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.service import Service, service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.support.programs import otlp_env, run_program
from tests.support.redis_server import redis_server
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]

TASKS = """
import os
from celery import Celery
from opentelemetry.trace import get_current_span
from somatrace import init_tracing, span

init_tracing(os.environ["SERVICE"])
app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)

@app.task
def work():
    with span("inside"):
        span_id = get_current_span().get_span_context().span_id
    return f"{span_id:016x}", os.getpid()
"""
#: Without tracing, so that all spans are those of workers.
SENDER = """
import json, os, sys
from celery import Celery
app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
results = [app.send_task("tasks.work") for _ in range(20)]
print(json.dumps([result.get(timeout=120) for result in results]))
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield f"redis+socket://{address}"


def greenlets(pool: str) -> object:
    missing = importlib.util.find_spec(pool) is None
    skipped = pytest.mark.skipif(missing, reason=f"{pool} is not installed: `make interop`")
    return pytest.param(pool, marks=[pytest.mark.interop, skipped])


each_pool = pytest.mark.parametrize(
    "pool", ["prefork", "solo", "threads", greenlets("gevent"), greenlets("eventlet")]
)


@contextmanager
def worker(faulty: Service, broker: str, pool: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker in a process group of its own, which ends with the block."""
    (faulty.place / "tasks.py").write_text(TASKS)
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel=error"]
    env = otlp_env(faulty.url, SOMATRACE_DATA_DIR=str(faulty.data), SERVICE=faulty.name, BROKER=broker)
    with (faulty.place / "log").open("ab") as log:
        process = subprocess.Popen(
            [*command, f"--pool={pool}", "--concurrency=2"],
            cwd=faulty.place,
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def send(broker: str, directory: Path) -> list[tuple[str, int]]:
    """Have twenty tasks done; return the ids of their spans, and of their processes."""
    done = run_program(SENDER, {"BROKER": broker}, directory=directory)
    return [(span, pid) for span, pid in json.loads(done.stdout)]


@each_pool
def test_what_a_killed_worker_left_arrives_with_its_next_start(tmp_path, broker, pool):
    with failing(REFUSES) as sink, service(tmp_path, sink.url, name="tasks") as faulty:
        with worker(faulty, broker, pool) as first:
            made = {span for span, _ in send(broker, tmp_path)}
            wait_until(lambda: made <= {*faulty.waiting()})
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
        recover(sink, REFUSES)
        with worker(faulty, broker, pool) as second:
            later = {span for span, _ in send(broker, tmp_path)}
            wait_until(lambda: copies(sink).keys() >= made | later)
            second.send_signal(signal.SIGTERM)
            second.wait(120)

    assert set(copies(sink).values()) == {1}
    assert faulty.waiting() == []


def test_a_killed_process_of_a_pool_is_succeeded_by_one_that_sends_what_it_left(tmp_path, broker):
    with (
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, name="tasks") as faulty,
        worker(faulty, broker, "prefork") as process,
    ):
        first = send(broker, tmp_path)
        made = {span for span, _ in first}
        wait_until(lambda: made <= {*faulty.waiting()})
        recover(sink, REFUSES)
        for pid in {pid for _, pid in first}:
            os.kill(pid, signal.SIGKILL)
        while not copies(sink).keys() >= made:
            made |= {span for span, _ in send(broker, tmp_path)}
        process.send_signal(signal.SIGTERM)
        process.wait(120)

    assert max(copies(sink).values()) <= 2
    assert faulty.waiting() == []
