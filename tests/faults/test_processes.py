"""Several processes of a service: forks, dead siblings, workers of a server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.gunicorn_server import workers
from tests.faults.service import service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.support.waiting import wait_until

#: The child has spans of its own, and lives on without its parent.
FORKING = """
work(100)
wait_until(lambda: status().on_disk == 100)
if not os.fork():
    work(30)
    wait_until(lambda: status().on_disk == 30)
    note("child", os.getpid())
    sys.stdin.read()
    sys.exit(0)
work(20)
wait_until(lambda: status().on_disk == 120)
note("parent", os.getpid())
time.sleep(600)
"""


@pytest.mark.slow
def test_what_a_killed_parent_left_is_sent_although_its_child_lives(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start(FORKING)
        child = first.wait_for("child")
        first.wait_for("parent")
        parents = first.made(pid=first.process.pid)
        first.process.kill()  # its pipes stay open in the child
        first.process.wait()
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*parents, *second.made()})
        lives = Path(f"/proc/{child}").exists()
        first.finish()
        wait_until(lambda: len(copies(sink)) == 153)
        second.finish()

    assert lives
    assert copies(sink) == dict.fromkeys([*first.made(), *second.made()], 1)
    assert first.counts(child).created == 30
    assert first.counts(child).difference == 0
    assert second.counts().difference == 0
    assert faulty.waiting() == []


@pytest.mark.slow
def test_forks_in_a_row_lose_and_repeat_no_span(tmp_path):
    with failing("") as sink, service(tmp_path, sink.url) as faulty:
        run = faulty.run(
            """
            children = []
            for _ in range(30):
                work(5)
                if not (child := os.fork()):
                    work(5)
                    assert flush(60)
                    note_status()
                    os._exit(0)
                children.append(child)
            note("codes", [os.waitpid(child, 0)[1] for child in children])
            work(5)
            flush(60)
            """
        )

    assert run.said("codes") == [[0] * 30]
    assert len(run.made()) == 305
    twice = [span for span, number in copies(sink).items() if number > 1]
    assert set(copies(sink)) == set(run.made())
    assert len(twice) <= run.counts().resent_ambiguous
    assert run.counts().difference == 0
    assert faulty.waiting() == []


@pytest.mark.slow
def test_what_a_dead_process_left_is_sent_by_one_of_its_siblings_only(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        dead = faulty.start("work(1500, 0.0002)\nsys.stdin.read()")
        sibling = faulty.start("work(50)\nsys.stdin.read()")
        wait_until(lambda: len(faulty.waiting()) == 1550)
        dead.kill()
        recover(sink, REFUSES)
        later = [faulty.start("work(5)\nsys.stdin.read()") for _ in range(3)]
        wait_until(lambda: len(copies(sink)) == 1565)
        for run in (sibling, *later):
            run.finish()

    assert set(copies(sink).values()) == {1}
    assert sum(run.counts().taken_over for run in (sibling, *later)) == 1500
    assert sum(run.counts().delivered for run in (sibling, *later)) == 1565
    assert [run.counts().difference for run in (sibling, *later)] == [0] * 4
    assert faulty.waiting() == []


@pytest.mark.slow
def test_what_killed_workers_of_gunicorn_left_arrives_with_its_next_start(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url, name="web") as faulty:
        with workers(faulty) as (request, first):
            made = [request() for _ in range(40)]
            wait_until(lambda: len(faulty.waiting()) == 40)
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
        waiting = faulty.waiting()
        recover(sink, REFUSES)
        with workers(faulty) as (request, second):
            later = [request() for _ in range(20)]
            wait_until(lambda: len(copies(sink)) == 60)
            second.send_signal(signal.SIGTERM)
            second.wait()

    assert sorted(waiting) == sorted(made)
    assert copies(sink) == dict.fromkeys([*made, *later], 1)
    assert faulty.waiting() == []


@pytest.mark.slow
def test_a_killed_worker_of_gunicorn_is_succeeded_by_one_that_sends_what_it_left(tmp_path):
    with (
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, name="web") as faulty,
        workers(faulty) as (request, server),
    ):
        made = [request() for _ in range(40)]
        wait_until(lambda: len(faulty.waiting()) == 40)
        recover(sink, REFUSES)
        for worker in request.pids:
            os.kill(worker, signal.SIGKILL)
        while not copies(sink).keys() >= {*made}:
            made.append(request())
        server.send_signal(signal.SIGTERM)
        server.wait()

    assert copies(sink).keys() >= {*made}
    assert max(copies(sink).values()) <= 2
    assert faulty.waiting() == []
