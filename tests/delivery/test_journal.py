"""What waits on disk: written before it is sent, marked after the answer, taken over by the next process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.delivery import journal as journal_module
from somatrace.delivery.journal import Journal
from somatrace.delivery.journal_directory import directory_of
from somatrace.delivery.journal_entry import Entry
from somatrace.spool.segment_format import HEADER_SIZE
from tests.delivery.support import open_segments
from tests.support.programs import run_program

OWNER = {"service": "svc", "target": "otlp", "address": "http://collector:4318/v1/traces", "key": ""}


def journal_in(directory: Path, **more) -> Journal:
    given = {"max_bytes": 1 << 26, "max_days": 7.0, "owner": OWNER, **more}
    return Journal(lambda: directory, given.pop("owner"), **given)


def segments(directory: Path, owner: dict[str, str] = OWNER) -> list[Path]:
    return sorted((directory_of(directory, owner) / "spool").glob("*.segment"))


def left_in(directory: Path, **more) -> list[bytes | None]:
    """What a later process reads, segment by segment."""
    journal, found = journal_in(directory, **more), []
    while entries := journal.take_over():
        found += [body_of(journal, entry) for entry in entries]
    return found


def body_of(journal: Journal, entry: Entry) -> bytes | None:
    found = journal.read(entry)
    return None if found is None else found[0]


def add(journal: Journal, body: bytes, spans: int = 1) -> Entry:
    entry = journal.add(body, spans)
    assert entry is not None, journal.problem
    return entry


def test_a_batch_is_read_by_the_next_process_until_it_is_marked(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entries = [add(journal, body) for body in (b"one", b"two", b"three")]
    journal.done([entries[1]])
    journal.close()

    assert left_in(tmp_path) == [b"one", b"three"]


def test_nothing_stays_on_disk_of_what_was_answered(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entries = [add(journal, bytes(100_000)) for _ in range(40)]
    journal.done(entries)
    size = sum(path.stat().st_size for path in segments(tmp_path))
    journal.close()

    assert size < 1000
    assert segments(tmp_path) == []


def test_what_another_process_holds_is_not_taken_over(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    add(first, b"held")

    while_held = left_in(tmp_path)
    first.close()

    assert while_held == []
    assert left_in(tmp_path) == [b"held"]


def test_only_one_of_several_takes_over_a_segment(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    add(first, b"left")
    first.close()

    takers = [journal_in(tmp_path) for _ in range(3)]

    assert [len(taker.take_over()) for taker in takers] == [1, 0, 0]


@pytest.mark.parametrize("field", OWNER)
def test_batches_of_another_service_or_target_are_left_alone(tmp_path: Path, field: str) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"left")
    journal.close()

    assert left_in(tmp_path, owner={**OWNER, field: "another"}) == []
    assert left_in(tmp_path) == [b"left"]


def test_a_segment_in_another_targets_directory_is_left_alone(tmp_path: Path) -> None:
    other = {**OWNER, "address": "http://another:4318/v1/traces"}
    journal = journal_in(tmp_path)
    add(journal, b"left")
    journal.close()
    (path,) = segments(tmp_path)
    directory = directory_of(tmp_path, other) / "spool"
    directory.mkdir(parents=True)
    path.rename(directory / path.name)

    assert left_in(tmp_path, owner=other) == []
    assert (directory / path.name).exists()


@pytest.mark.parametrize("depth", [0, 1, 2], ids=["unsent", "service", "spool"])
def test_no_link_to_a_directory_is_followed(tmp_path: Path, depth: int) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"left")
    journal.close()
    (path,) = segments(tmp_path)
    directory = path.parents[2 - depth]
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    other = journal_in(tmp_path)

    assert left_in(tmp_path) == []
    assert other.add(b"one", 1) is None
    assert len(list((tmp_path / "elsewhere").rglob("*.segment"))) == 1


def test_directories_that_are_removed_while_they_are_empty_are_made_again(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    directory = directory_of(tmp_path, OWNER)
    ended = threading.Event()

    def remove() -> None:
        while not ended.wait(0.0002):
            for path in (directory / "spool", directory, directory.parent):
                with contextlib.suppress(OSError):
                    path.rmdir()

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for number in range(500):
            entry = add(journal, b"%d" % number)
            assert journal.read(entry) == (b"%d" % number, None)
            journal.done([entry])
            journal.close()
    finally:
        ended.set()
        remover.join()


def test_files_are_private(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"left")
    directory = directory_of(tmp_path, OWNER)

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (directory.parent, directory, directory / "spool")]

    assert modes == [0o700] * 3
    assert stat.S_IMODE(segments(tmp_path)[0].stat().st_mode) == 0o600


def test_no_secret_is_in_the_name_of_a_directory_or_in_a_segment(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, owner={**OWNER, "key": "pk-lf-public"})
    add(journal, b"left")

    assert "pk-lf" not in str(directory_of(tmp_path, {**OWNER, "key": "pk-lf-public"}))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=12))
def test_a_torn_end_costs_nothing_but_what_was_being_written(
    data: st.DataObject, bodies: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("torn")
    journal = journal_in(directory)
    entries = [add(journal, body) for body in bodies]
    done = data.draw(st.sets(st.integers(0, len(bodies) - 1), max_size=len(bodies) - 1))
    journal.done([entries[number] for number in done])
    (path,) = segments(directory)
    content = path.read_bytes()
    journal.close()
    torn = data.draw(st.integers(entries[0].position, len(content)))
    path.write_bytes(content[:torn])

    found = left_in(directory)

    whole = [
        body
        for entry, body in zip(entries, bodies, strict=True)
        if entry.position + HEADER_SIZE + entry.size <= torn
    ]
    unmarked = [body for number, body in enumerate(bodies) if number not in done]
    # a mark may be what was torn, so that a batch is sent twice; none is missing
    assert not Counter(unmarked[: len(whole)]) - Counter(found) - Counter(bodies[len(whole) :])
    assert not Counter(found) - Counter(whole)


def test_a_mark_behind_a_torn_record_is_read_and_the_torn_spans_are_counted(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entries = [add(journal, bytes([number]) * 100, 5) for number in range(3)]
    journal.close()
    (path,) = segments(tmp_path)
    os.truncate(path, entries[2].position + HEADER_SIZE + 60)
    evicted: Counter[str] = Counter()
    second = journal_in(tmp_path, evicted=evicted.update)
    second.done(second.take_over()[:1])
    second.close()

    found = left_in(tmp_path, evicted=evicted.update)

    assert found == [bytes([1]) * 100]
    assert evicted == {"damaged": 5}


def test_a_damaged_record_costs_its_own_spans_only_and_is_counted(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entries = [add(journal, body, 5) for body in (b"first" * 10, b"second" * 10, b"third" * 10)]
    journal.close()
    (path,) = segments(tmp_path)
    content = bytearray(path.read_bytes())
    content[entries[1].position + HEADER_SIZE + 3] ^= 0xFF
    path.write_bytes(content)
    evicted: Counter[str] = Counter()

    found = left_in(tmp_path, evicted=evicted.update)

    assert found == [b"first" * 10, b"third" * 10]
    assert evicted == {"damaged": 5}


def test_a_directory_that_cannot_be_written_is_one_line_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_RETRY", 0.0)
    (tmp_path / "unsent").write_bytes(b"a file")
    journal = journal_in(tmp_path)

    refused = [journal.add(b"one", 1) for _ in range(3)]
    problem = journal.problem
    (tmp_path / "unsent").unlink()
    taken = journal.add(b"two", 1)

    assert refused == [None] * 3
    assert problem.startswith("SOMATRACE_DATA_DIR: spans wait in memory only")
    assert len(caplog.messages) == 1
    assert taken is not None
    assert journal.problem == ""


def test_a_full_disk_leaves_whole_records_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_RETRY", 0.0)
    journal = journal_in(tmp_path)
    add(journal, b"before")
    write, state = os.writev, {"full": True}

    def writev(descriptor: int, parts: list) -> int:
        if not state["full"]:
            return write(descriptor, parts)
        os.write(descriptor, bytes(parts[0])[:10])  # a part fits
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", writev)
    refused, problem = journal.add(b"refused", 1), journal.problem
    state["full"] = False
    add(journal, b"after")
    journal.close()

    assert refused is None
    assert "No space left on device" in problem
    assert left_in(tmp_path) == [b"before", b"after"]


def test_above_the_limit_the_oldest_batches_go_and_new_ones_stay(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, max_bytes=1 << 20)
    entries = [add(journal, bytes([number]) * 20_000) for number in range(200)]
    size = sum(path.stat().st_size for path in segments(tmp_path))

    read = [body_of(journal, entry) for entry in entries]

    kept = [body for body in read if body is not None]
    assert size <= 1 << 20
    assert 20 < len(kept) < 60
    assert kept == [bytes([number]) * 20_000 for number in range(200 - len(kept), 200)]


def test_a_forked_child_leaves_the_parents_segments_to_the_parent(tmp_path: Path) -> None:
    done = run_program(
        f"""
        import os, pathlib
        from somatrace.delivery.journal import Journal
        journal = Journal(lambda: pathlib.Path({str(tmp_path)!r}), {OWNER!r}, max_bytes=1 << 26, max_days=7.0)
        journal.add(b"of the parent", 1)
        if os.fork() == 0:
            journal.forget()
            journal.add(b"of the child", 1)
            os._exit(0)
        os.wait()
        journal.add(b"of the parent, too", 1)
        os._exit(0)
        """
    )

    assert done.stdout == ""
    assert sorted(body for body in left_in(tmp_path) if body) == [
        b"of the child",
        b"of the parent",
        b"of the parent, too",
    ]


def test_a_child_that_lives_on_does_not_hold_what_its_dead_parent_had_left(tmp_path: Path) -> None:
    run_program(
        f"""
        import os, pathlib, sys, time
        from somatrace.delivery.journal import Journal
        journal = Journal(lambda: pathlib.Path({str(tmp_path)!r}), {OWNER!r}, max_bytes=1 << 26, max_days=7.0)
        journal.add(b"of the parent", 1)
        child = os.fork()
        if child == 0:
            journal.forget()
            os.close(1), os.close(2)
            time.sleep(60)
            os._exit(0)
        pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child))
        os._exit(0)
        """
    )
    try:
        found = left_in(tmp_path)
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)

    assert found == [b"of the parent"]


def test_waiting_batches_are_synced_once_and_answered_ones_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("somatrace.spool.segment_file._sync", synced.append)
    journal = journal_in(tmp_path)

    answered = add(journal, b"answered")
    journal.done([answered])
    journal.sync(now=True)
    after_the_answer = len(synced)
    add(journal, b"waits")
    soon = journal.sync()
    for _ in range(3):
        journal.sync(now=True)

    assert after_the_answer == 0
    assert soon is not None
    assert 0 < soon <= journal_module.SYNC_AFTER
    assert len(synced) == 1


def test_a_file_system_without_locks_costs_no_descriptors_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_RETRY", 0.0)
    left = journal_in(tmp_path)
    add(left, b"left")
    left.close()

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("somatrace.spool.spool_directory.fcntl.flock", refused)
    journal = journal_in(tmp_path)
    entries = [journal.add(b"waits", 1) for _ in range(5)]
    taken = [journal.take_over() for _ in range(5)]

    assert entries == [None] * 5
    assert taken == [[]] * 5
    assert open_segments(tmp_path) == []
    assert len(segments(tmp_path)) == 1
    assert "No locks available" in journal.problem


def test_the_end_of_a_process_does_not_wait_for_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing, over = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        syncing.set()
        over.wait(60)

    monkeypatch.setattr("somatrace.spool.segment_file._sync", sync)
    journal = journal_in(tmp_path)
    add(journal, b"waits")

    journal.close(0.05)

    assert syncing.is_set()
    over.set()
    assert left_in(tmp_path) == [b"waits"]


def test_a_handler_of_the_problem_may_ask_for_what_waits(tmp_path: Path) -> None:
    (tmp_path / "unsent").write_bytes(b"a file")
    journal = journal_in(tmp_path)
    held: list[bool] = []

    class Asks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other = threading.Thread(target=lambda: held.append(journal._lock.acquire(timeout=30)))
            other.start()
            other.join()

    handler = Asks()
    logging.getLogger("somatrace").addHandler(handler)
    try:
        refused = journal.add(b"waits", 1)
    finally:
        logging.getLogger("somatrace").removeHandler(handler)

    assert refused is None
    assert held == [True]


def test_what_is_deleted_for_room_is_counted_without_what_was_delivered(tmp_path: Path) -> None:
    earlier = journal_in(tmp_path, max_bytes=1 << 20)
    entries = [add(earlier, bytes(30_000), 10) for _ in range(30)]
    earlier.done(entries[:25])
    earlier.close()
    evicted: Counter[str] = Counter()
    journal = journal_in(tmp_path, max_bytes=1 << 20, evicted=evicted.update)

    for _ in range(60):
        add(journal, bytes(30_000), 1)

    assert evicted == {"size": 50}


def test_the_age_limit_holds_for_services_and_targets_that_are_gone(tmp_path: Path) -> None:
    owner = {**OWNER, "service": "gone"}
    gone = journal_in(tmp_path, owner=owner)
    add(gone, b"old", 7)
    gone.close()
    (path,) = segments(tmp_path, owner)
    eight_days_ago = time.time_ns() - 8 * 86_400 * 10**9
    path.rename(path.with_name(f"{eight_days_ago:016x}-{path.name.partition('-')[2]}"))
    evicted: Counter[str] = Counter()

    add(journal_in(tmp_path, evicted=evicted.update), b"new")

    assert evicted == {"age": 7}
    assert segments(tmp_path, owner) == []


def test_a_killed_process_is_reported_once_and_one_that_left_its_segments_is_not(tmp_path: Path) -> None:
    stops: list[int] = []
    killed, orderly = journal_in(tmp_path), journal_in(tmp_path)
    add(killed, b"one")
    add(orderly, b"two")
    killed.forget()  # as the kernel closes its files
    orderly.close()

    second = journal_in(tmp_path, on_unclean_stop=lambda: stops.append(2))
    while second.take_over():
        pass
    second.close()
    third = left_in(tmp_path, on_unclean_stop=lambda: stops.append(3))

    assert stops == [2]
    assert sorted(body for body in third if body) == [b"one", b"two"]
