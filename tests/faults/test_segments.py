"""Records of segments under the program's feet: removed, closed, or in parts."""

from __future__ import annotations

import shutil

import pytest

from tests.faults.service import service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.support.otlp_server import Reply
from tests.support.waiting import wait_until


@pytest.mark.slow
def test_half_a_batch_that_was_accepted_is_not_sent_again_by_the_next_start(tmp_path):
    with failing("") as sink, service(tmp_path, sink.url) as faulty:
        # a target that accepts small batches, and is away after some of them
        sink.reply = lambda number: Reply(
            503 if number > 4 else 413 if len(sink.raw[number]) > 15_000 else 200
        )
        first = faulty.start("work(400)\nsys.stdin.read()")
        wait_until(lambda: sink.requests > 5)
        first.finish()
        accepted, waiting = {*copies(sink)}, {*faulty.waiting()}
        recover(sink, "")
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*first.made(), *second.made()})
        second.finish()

    assert accepted
    assert waiting == {*first.made()} - accepted
    assert first.counts().left == len(waiting)
    assert copies(sink) == dict.fromkeys([*first.made(), *second.made()], 1)
    assert [run.counts().difference for run in (first, second)] == [0, 0]


@pytest.mark.slow
def test_a_data_directory_that_was_removed_is_made_again(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        run = faulty.start(
            "work(100)\nsys.stdin.read()\nwork(50)\nwait_until(lambda: status().on_disk == 150)"
        )
        wait_until(lambda: len(faulty.waiting()) == 100)
        shutil.rmtree(faulty.data)
        run.finish()

    counts = run.counts()
    assert sorted(faulty.waiting()) == sorted(run.made()[100:])
    assert (counts.left, counts.lost, counts.difference) == (50, {"exit": 100}, 0)


@pytest.mark.slow
def test_spans_on_disk_are_left_although_the_program_has_closed_every_descriptor(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        run = faulty.run(
            """
            work(100)
            wait_until(lambda: status().on_disk == 100)
            kept, notes = notes, 200
            os.dup2(kept, notes)
            os.closerange(3, notes)
            work(50)
            wait_until(lambda: status().on_disk == 150)
            """
        )

    counts = run.counts()
    assert sorted(faulty.waiting()) == sorted(run.made())
    assert (counts.left, counts.lost, counts.difference) == (150, {}, 0)
