"""A process that is frozen between two calls, as functions of AWS Lambda are: flushed before it.

Its clocks stand still meanwhile as far as it can tell, and are hours ahead when it goes on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.faults.service import Run, Service, service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.faults.target import target
from tests.support.otlp_server import Reply
from tests.support.programs import otlp_env
from tests.support.waiting import wait_until

HOURS = 3600
DAYS = 24 * HOURS
#: Before tracing is imported, which keeps the functions of `time` that it finds.
JUMPING_CLOCKS = """
import os, signal, time
ahead, jump = [0], int(os.environ["JUMP"])
monotonic, wall, wall_ns = time.monotonic, time.time, time.time_ns
time.monotonic = lambda: monotonic() + ahead[0]
time.time = lambda: wall() + ahead[0]
time.time_ns = lambda: wall_ns() + ahead[0] * 10**9
signal.signal(signal.SIGCONT, lambda *_: ahead.__setitem__(0, ahead[0] + jump))
"""
#: A line is an invocation, with the seconds that its flush may take. The first spans load modules.
HANDLER = """
work(1)
wait_until(lambda: status().delivered + status().on_disk == 1)
for line in sys.stdin:
    work(5)
    note("flushed", flush(float(line)))
"""


def start(faulty: Service, jump: int) -> Run:
    return faulty.start(HANDLER, first=JUMPING_CLOCKS, JUMP=str(jump))


def invoke(run: Run, seconds: float) -> bool:
    """Have the process make five spans and flush them; return whether they were delivered."""
    before = len(run.said("flushed"))
    assert run.process.stdin
    print(seconds, file=run.process.stdin, flush=True)
    wait_until(lambda: len(run.said("flushed")) > before)
    return bool(run.said("flushed")[-1])


def freeze(run: Run) -> None:
    run.process.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{run.process.pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")


def thaw(run: Run) -> None:
    run.process.send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize("jump", [0, 2 * HOURS, 30 * DAYS])
def test_each_invocation_is_delivered_before_its_freeze_and_none_twice(tmp_path, jump):
    with failing("") as sink, service(tmp_path, sink.url) as faulty:
        run = start(faulty, jump)
        for _ in range(3):
            delivered = invoke(run, 60)
            freeze(run)
            assert delivered
            assert copies(sink) == dict.fromkeys(run.made(), 1)
            thaw(run)
        run.finish()

    counts = run.counts()
    assert copies(sink) == dict.fromkeys(run.made(), 1)
    assert (counts.delivered, counts.lost, counts.evicted, counts.difference) == (16, {}, {}, 0)
    assert faulty.waiting() == []


@pytest.mark.slow
@pytest.mark.parametrize("jump", [0, 2 * HOURS, 30 * DAYS])
def test_what_a_flush_did_not_deliver_is_on_disk_and_leaves_once_the_process_goes_on(tmp_path, jump):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        run = start(faulty, jump)
        delivered = invoke(run, 2)
        freeze(run)
        waiting = faulty.waiting()
        recover(sink, REFUSES)
        thaw(run)
        wait_until(lambda: copies(sink).keys() >= {*waiting})
        run.finish()

    counts = run.counts()
    assert not delivered
    assert sorted(waiting) == sorted(run.made())
    assert copies(sink) == dict.fromkeys(run.made(), 1)
    assert (counts.delivered, counts.lost, counts.evicted, counts.difference) == (6, {}, {}, 0)
    assert faulty.waiting() == []


@pytest.mark.slow
def test_nobody_takes_what_a_frozen_process_has_on_disk(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        run = start(faulty, 2 * HOURS)
        invoke(run, 2)
        freeze(run)
        recover(sink, REFUSES)
        sibling = faulty.run("work(3)\nassert flush(60)")
        drained = drain(faulty)
        by_others = copies(sink)
        waiting = faulty.waiting()
        thaw(run)
        wait_until(lambda: len(copies(sink)) == 9)
        run.finish()

    assert by_others == dict.fromkeys(sibling.made(), 1)
    assert sorted(waiting) == sorted(run.made())
    assert (drained.returncode, "a running process holds" in drained.stdout) == (1, True), drained.stdout
    assert copies(sink) == dict.fromkeys([*run.made(), *sibling.made()], 1)
    assert sibling.counts().taken_over == 0
    assert run.counts().difference == 0


def drain(faulty: Service) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "somatrace", "drain", "--data-dir", str(faulty.data)],
        env=otlp_env(faulty.url, PYTHONPATH=":".join(sys.path)),
        cwd=faulty.place,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("jump", [0, 2 * HOURS])
def test_an_answer_that_came_during_the_freeze_is_read_and_nothing_is_sent_again(tmp_path, jump):
    answers = threading.Event()

    def reply(number: int) -> Reply:
        if number:
            answers.wait(60)
        return Reply()

    with failing("") as sink, service(tmp_path, sink.url) as faulty:
        sink.reply = reply
        run = start(faulty, jump)
        wait_until(lambda: len(copies(sink)) == 1)
        invoke(run, 1)
        wait_until(lambda: sink.requests == 2)
        freeze(run)
        waiting = faulty.waiting()
        answers.set()
        wait_until(lambda: len(copies(sink)) == 6)
        thaw(run)
        wait_until(lambda: not faulty.waiting())
        run.finish()

    assert sorted(waiting) == sorted(run.made()[1:])
    assert copies(sink) == dict.fromkeys(run.made(), 1)
    assert (run.counts().delivered, run.counts().resent_ambiguous, run.counts().difference) == (6, 0, 0)


@pytest.mark.slow
def test_a_connection_that_the_target_closed_during_the_freeze_is_replaced(tmp_path):
    with target() as sink, service(tmp_path, sink.url) as faulty:
        run = start(faulty, 0)
        before = invoke(run, 60)
        freeze(run)
        sink.behave(REFUSES)  # which closes its connections
        sink.behave()
        thaw(run)
        after = invoke(run, 60)
        run.finish()

    assert (before, after) == (True, True)
    assert sink.copies == dict.fromkeys(run.made(), 1)
    assert (run.counts().resent_ambiguous, run.counts().difference) == (0, 0)
