"""A disk that is full or cannot be written: the service goes on, and every span is accounted for."""

from __future__ import annotations

import pytest

from tests.faults.disks import CannotMountError, file_instead, read_only, small_disk
from tests.faults.service import service
from tests.faults.sinks import REFUSES, copies, failing, recover
from tests.support.otlp_server import Reply
from tests.support.waiting import wait_until

#: Bytes in memory that overflow soon.
LITTLE = {"SOMATRACE_QUEUE_BYTES": "256K"}
#: Spans of about a kilobyte each, until much more than the disk has room for has ended.
MUCH = "for number in range(100):\n    work(20, text=os.urandom(400).hex())\n    time.sleep(0.03)\n"


@pytest.fixture
def mounts(tmp_path):
    try:
        with small_disk(tmp_path / "tried", 64):
            pass
    except CannotMountError as error:
        pytest.skip(f"no file system can be mounted: {error}")


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_a_full_disk_keeps_what_is_on_it_and_counts_what_finds_no_room(tmp_path):
    with (
        small_disk(tmp_path / "disk", 400) as disk,
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, data=disk / "data") as faulty,
    ):
        first = faulty.run(f"{MUCH}print('as ever')\nshutdown()", **LITTLE)
        waiting = faulty.waiting()
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*waiting, *second.made()})
        second.finish()

    counts = first.counts()
    assert (first.process.returncode, first.output) == (0, "as ever\n")
    assert "Traceback" not in first.errors
    assert any("No space left" in problem for problem in counts.problems), counts.problems
    assert counts.difference == 0
    assert set(counts.lost) <= {"backend_away", "exit"}
    assert len(waiting) == counts.left
    assert 100 < len(waiting) == 2000 - sum(counts.lost.values())
    assert copies(sink) == dict.fromkeys([*waiting, *second.made()], 1)


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_spans_that_find_no_room_on_a_full_disk_do_not_drive_out_those_that_did(tmp_path):
    with (
        small_disk(tmp_path / "disk", 400) as disk,
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, data=disk / "data") as faulty,
    ):
        run = faulty.start(f"{MUCH}note('full', 0)\nsys.stdin.readline()\n{MUCH}shutdown()", **LITTLE)
        run.wait_for("full")
        before = faulty.waiting()
        run.finish()
        after = faulty.waiting()

    assert len(before) > 100
    assert {*before} <= {*after}
    assert run.counts().left == len(after)
    assert sum(run.counts().lost.values()) == 4000 - len(after)


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_spans_that_were_accepted_while_the_disk_was_full_are_not_sent_again_by_the_next_start(tmp_path):
    with (
        small_disk(tmp_path / "disk", 400) as disk,
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, data=disk / "data") as faulty,
    ):
        first = faulty.start(f"{MUCH}sys.stdin.read()")
        wait_until(lambda: len(first.made()) == 2000)
        wait_until(lambda: len(faulty.waiting()) > 100)
        # half of it is accepted, then the target is away again
        sink.reply = lambda number: Reply(503 if number >= 2 else 200)
        sink.listen()
        wait_until(lambda: sink.requests > 2)
        first.kill()
        accepted = copies(sink)
        waiting = faulty.waiting()
        recover(sink, "")
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*waiting, *second.made()})
        second.finish()

    assert accepted
    assert set(copies(sink).values()) == {1}


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_what_waited_in_memory_survives_kill_9_once_the_disk_has_room_again(tmp_path):
    with (
        small_disk(tmp_path / "disk", 400) as disk,
        failing(REFUSES) as sink,
        service(tmp_path, sink.url, data=disk / "data") as faulty,
    ):
        first = faulty.start(
            "work(1)\nsys.stdin.readline()\nwork(300)\n"
            "wait_until(lambda: status().problems)\nnote('full', status().problems)\nsys.stdin.read()"
        )
        wait_until(lambda: len(faulty.waiting()) == 1)
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(1 << 20))
        first.process.stdin.write("\n")
        first.process.stdin.flush()
        first.wait_for("full")
        before = faulty.waiting()
        ballast.unlink()
        wait_until(lambda: {*faulty.waiting()} == {*first.made()})
        first.kill()
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*first.made(), *second.made()})
        second.finish()

    made = [*first.made(), *second.made()]
    assert len(before) < 301
    assert len(made) == 304
    assert copies(sink) == dict.fromkeys(made, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("unusable", [file_instead, read_only])
@pytest.mark.parametrize("failure", ["", REFUSES])
def test_without_a_directory_spans_wait_in_memory_and_the_status_says_so(tmp_path, unusable, failure):
    with (
        unusable(tmp_path / "data"),
        failing(failure) as sink,
        service(tmp_path, sink.url) as faulty,
    ):
        run = faulty.run("work(300)\nprint('as ever')" + ("" if failure else "\nflush(60)"))
        left = faulty.waiting()

    counts = run.counts()
    assert (run.process.returncode, run.output) == (0, "as ever\n")
    assert run.errors.count("SOMATRACE_DATA_DIR") == 1
    assert any(problem.startswith("SOMATRACE_DATA_DIR: ") for problem in counts.problems)
    assert counts.difference == 0
    assert (counts.delivered, counts.lost) == ((0, {"exit": 300}) if failure else (300, {}))
    assert len(copies(sink)) == counts.delivered
    assert left == []


@pytest.mark.slow
def test_above_the_limit_on_disk_what_is_deleted_is_counted_and_not_said_to_be_left(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        limits = {"SOMATRACE_SPOOL_MAX_BYTES": "300K", **LITTLE}
        first = faulty.run(f"{MUCH}shutdown()", **limits)
        waiting = faulty.waiting()
        recover(sink, REFUSES)
        # without the limit: its own first segment could need the room of the oldest one that was left
        second = faulty.start("work(3)\nsys.stdin.read()", **LITTLE)
        wait_until(lambda: copies(sink).keys() >= {*waiting, *second.made()})
        second.finish()

    counts = first.counts()
    assert counts.difference == 0
    assert 100 < len(waiting) == counts.left
    assert sum(counts.lost.values()) == 2000 - len(waiting)
    assert copies(sink) == dict.fromkeys([*waiting, *second.made()], 1)
