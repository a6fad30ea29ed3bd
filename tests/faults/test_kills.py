"""Processes that end without their exit handlers: what is on disk by then arrives with the next start."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from somatrace.delivery.journal_directory import UNSENT
from tests.faults.service import Service, service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.support.otlp_server import Reply
from tests.support.waiting import wait_until

#: Spans of one request at most.
BATCH = 512
#: Spans until the program is killed. The pauses are those of a service that does something else meanwhile.
FOREVER = "work(1_000_000, 0.002)"


def segments(faulty: Service) -> list[Path]:
    assert faulty.data is not None
    return sorted(faulty.data.glob(f"{UNSENT}/*/spool/*.segment"))


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_what_was_on_disk_at_kill_9_arrives_with_the_next_start(tmp_path, attempt):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start(FOREVER)
        wait_until(lambda: len(first.made()) > 200)
        on_disk = wait_until(lambda: (found := faulty.waiting()) and len(found) > 200 and found)
        time.sleep(random.uniform(0, 0.4))
        first.kill()
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*on_disk, *second.made()} and not faulty.waiting())
        second.finish()

    assert first.process.returncode == -signal.SIGKILL
    # The last span may be killed between its end and its note.
    assert len(set(copies(sink)) - {*first.made(), *second.made()}) <= 1
    assert set(copies(sink).values()) == {1}
    assert second.counts().difference == 0
    assert second.counts().delivered == len(copies(sink))


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_kill_9_while_spans_are_accepted_repeats_at_most_the_batch_in_flight(tmp_path, attempt):
    with failing("") as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start(FOREVER)
        wait_until(lambda: len(copies(sink)) > 200)
        noted = first.made()
        wait_until(lambda: copies(sink).keys() >= {*noted})
        time.sleep(random.uniform(0, 0.4))
        first.kill()
        waiting = faulty.waiting()
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*waiting, *second.made()} and not faulty.waiting())
        second.finish()

    twice = [span for span, number in copies(sink).items() if number > 1]
    assert max(copies(sink).values()) <= 2
    assert len(twice) <= BATCH
    assert {*twice} <= {*waiting}
    assert second.counts().difference == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_an_exit_without_handlers_keeps_what_is_on_disk(tmp_path, ending, code):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.run(f"work(300)\nwait_until(lambda: status().on_disk == 300)\nnote_status()\n{ending}")
        waiting = faulty.waiting()
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: len(copies(sink)) == 303)
        second.finish()

    assert first.process.returncode == code
    assert first.counts().on_disk == first.counts().queued_spans == 300
    assert sorted(waiting) == sorted(first.made())
    assert copies(sink) == dict.fromkeys([*first.made(), *second.made()], 1)


@pytest.mark.slow
def test_an_answered_batch_is_not_sent_again_after_the_end_of_a_segment_was_torn(tmp_path):
    """The process that takes such a segment over marks in it what was answered, until it is killed, too."""
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start("for _ in range(6):\n    work(100)\n    time.sleep(0.3)\nsys.stdin.read()")
        wait_until(lambda: len(faulty.waiting()) == 600)
        first.kill()
        [path] = segments(faulty)
        os.truncate(path, path.stat().st_size - 10)
        intact = faulty.waiting()
        recover(sink, REFUSES)
        sink.reply = lambda number: Reply(503 if number >= 2 else 200)
        # a batch for each request
        second = faulty.start("work(3)\nsys.stdin.read()", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="100")
        wait_until(lambda: sink.requests > 2)
        second.kill()
        sink.reply = lambda _: Reply()
        third = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*intact, *third.made()})
        third.finish()

    assert 400 < len(intact) < 600
    assert set(copies(sink).values()) == {1}
    assert faulty.waiting() == []
