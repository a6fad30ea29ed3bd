"""Several processes of a service: forks, dead siblings, children of multiprocessing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

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


#: The children of a method make spans, and live on.
CHILDREN = """
import multiprocessing

def child():
    work(20)
    note("child", os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context(METHOD)
    work(10)
    children = [context.Process(target=child, daemon=True) for _ in range(2)]
    for one in children:
        one.start()
    work(10)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_killed_children_of_multiprocessing_left_is_sent_by_their_parent_or_the_next_start(
    tmp_path, method
):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start(CHILDREN.replace("METHOD", repr(method)))
        wait_until(lambda: len(faulty.waiting()) == 60)
        children = first.said("child")
        for child in children:
            os.kill(child, signal.SIGKILL)
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: len(copies(sink)) == 63)
        first.finish()
        second.finish()

    assert len({*children}) == 2
    assert copies(sink) == dict.fromkeys([*first.made(), *second.made()], 1)
    assert first.counts().taken_over + second.counts().taken_over == 40
    assert [run.counts().difference for run in (first, second)] == [0, 0]
    assert faulty.waiting() == []
