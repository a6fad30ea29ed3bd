"""Workers of servers that are killed while the target is away: what they left on disk arrives."""

from __future__ import annotations

import importlib.util
import os
import signal
import time

import pytest

from tests.faults.servers import RELOADED, SERVERS, workers
from tests.faults.service import service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.support.waiting import wait_until


def marked(server: str) -> object:
    """The server as a parameter; one with greenlets runs only beside them."""
    if "gevent" not in server:
        return server
    missing = importlib.util.find_spec("gevent") is None
    skipped = pytest.mark.skipif(missing, reason="gevent is not installed: `make interop`")
    return pytest.param(server, marks=[pytest.mark.interop, skipped])


each_server = pytest.mark.parametrize("server", [marked(server) for server in SERVERS])


@pytest.mark.slow
@each_server
def test_what_a_killed_server_and_its_workers_left_arrives_with_the_next_start(tmp_path, server):
    with failing(REFUSES) as sink, service(tmp_path, sink.url, name="web") as faulty:
        with workers(faulty, server) as (request, first):
            made = [request() for _ in range(40)]
            wait_until(lambda: {*made} <= {*faulty.waiting()})
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
        recover(sink, REFUSES)
        with workers(faulty, server) as (request, second):
            later = [request() for _ in range(20)]
            wait_until(lambda: copies(sink).keys() >= {*made, *later})
            second.send_signal(signal.SIGTERM)
            second.wait()

    assert set(copies(sink).values()) == {1}
    assert faulty.waiting() == []


@pytest.mark.slow
@each_server
def test_a_killed_worker_is_succeeded_by_one_that_sends_what_it_left(tmp_path, server):
    with (
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, name="web") as faulty,
        workers(faulty, server) as (request, process),
    ):
        made = [request() for _ in range(40)]
        wait_until(lambda: {*made} <= {*faulty.waiting()})
        recover(sink, REFUSES)
        for worker in request.pids:
            os.kill(worker, signal.SIGKILL)
        if server == RELOADED:  # it starts another one only for a change
            os.utime(tmp_path / "application.py")
        left = {*made}
        while not copies(sink).keys() >= left:  # it starts with a request
            made.append(request())
            time.sleep(0.05)
        wait_until(lambda: copies(sink).keys() >= {*made})
        process.send_signal(signal.SIGTERM)
        process.wait()

    assert max(copies(sink).values()) <= 2
    assert faulty.waiting() == []
