"""What could not be written down is written once there is room: from then on it survives the process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from somatrace.delivery import journal as journal_module
from somatrace.delivery import late_records
from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.journal import Journal
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.restricted import Restricted
from tests.delivery.support import batch, journal_in, names


@dataclass
class Disk:
    """A directory that can be full: nothing is written, or only what is smaller than `room`."""

    place: Path
    room: int = 1 << 30


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    found, write = Disk(tmp_path), os.writev

    def writev(descriptor: int, parts: list[bytes]) -> int:
        if sum(map(len, parts)) > found.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, parts)

    monkeypatch.setattr(os, "writev", writev)
    monkeypatch.setattr(journal_module, "_RETRY", 0.0)
    monkeypatch.setattr(late_records, "_RETRY", 0.0)
    return found


def queue_on(disk: Disk) -> BatchQueue:
    journal = journal_in(disk.place)
    return BatchQueue(Ledger(), lambda: journal, max_bytes=1 << 24, batch_size=200)


def add(queue: BatchQueue, *spans: str) -> None:
    queue.add(batch(*spans), len(spans))


def journal_of(queue: BatchQueue) -> Journal:
    assert queue.journal is not None
    return queue.journal


def written(disk: Disk, queue: BatchQueue) -> list[str]:
    """The spans that a process finds after `kill -9` of the one with the queue, in the order on disk."""
    queue.forget()  # its locks end, and its files stay as they are
    journal, found = journal_in(disk.place), []
    while entries := journal.take_over():
        read = [journal.read(entry) for entry in entries]
        found += [name for one in read if one is not None for name in names(one[0])]
    return found


def test_batches_of_a_full_disk_are_written_oldest_first_once_there_is_room(disk: Disk) -> None:
    queue = queue_on(disk)
    add(queue, "before")
    disk.room = 0
    for name in ("one", "two", "three"):
        add(queue, name)
    on_disk, problem = queue.on_disk, journal_of(queue).problem

    disk.room = 1 << 30
    while queue.sync() == 0.0:
        pass

    assert (on_disk, queue.on_disk) == (1, 4)
    assert problem
    assert journal_of(queue).problem == ""
    assert written(disk, queue) == ["before", "one", "two", "three"]


def test_batches_are_written_once_a_directory_can_be_made(disk: Disk) -> None:
    queue = queue_on(disk)
    (disk.place / "unsent").write_bytes(b"a file")
    add(queue, "one")

    (disk.place / "unsent").unlink()
    queue.sync()

    assert written(disk, queue) == ["one"]


def test_the_thread_that_writes_is_called_again_while_something_is_missing(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_RETRY", 60.0)
    queue = queue_on(disk)
    disk.room = 0
    add(queue, "one")

    wait = queue.sync()

    assert wait is not None
    assert 0 < wait <= 60


def test_one_call_writes_a_bounded_number_of_batches(disk: Disk) -> None:
    queue = queue_on(disk)
    disk.room = 0
    for number in range(3 * late_records._MOST):
        add(queue, str(number))

    disk.room = 1 << 30
    wait = queue.sync()

    assert 0 < queue.on_disk <= late_records._MOST
    assert wait == 0.0


def test_a_batch_for_which_there_is_no_room_keeps_neither_others_nor_new_ones_waiting(disk: Disk) -> None:
    queue = queue_on(disk)
    disk.room = 0
    add(queue, *["large"] * 150)
    add(queue, "small")
    add(queue, "other")

    disk.room = 5000
    for _ in range(5):
        queue.sync()
    problem = journal_of(queue).problem
    add(queue, "new")

    assert problem == ""
    assert queue.on_disk == 3
    disk.room = 1 << 30
    queue.sync()
    assert queue.on_disk == 153


def test_what_was_answered_while_it_was_written_is_not_sent_by_the_next_process(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_on(disk)
    disk.room = 0
    add(queue, "one")
    add(queue, "two")
    disk.room = 1 << 30

    def answered() -> None:
        request = queue.take(None)
        assert request is not None
        queue.finish(request)

    during_the_next_write(monkeypatch, journal_of(queue), answered)
    while queue.sync() == 0.0:
        pass

    assert written(disk, queue) == []


def test_a_request_without_an_answer_is_written_too(disk: Disk) -> None:
    queue = queue_on(disk)
    disk.room = 0
    add(queue, "one")
    add(queue, "two")
    request = queue.take(None)

    disk.room = 1 << 30
    queue.sync()

    assert request is not None
    assert request.parts
    assert queue.on_disk == 2
    assert written(disk, queue) == ["one", "two"]


def test_a_request_that_was_written_and_is_answered_leaves_nothing(disk: Disk) -> None:
    queue = queue_on(disk)
    disk.room = 0
    add(queue, "one")
    add(queue, "two")
    request = queue.take(None)
    assert request is not None

    disk.room = 1 << 30
    queue.sync()
    queue.finish(request)

    assert written(disk, queue) == []


def test_content_that_may_not_leave_any_more_is_not_written_late(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_on(disk)
    disk.room = 0
    queue.add(batch("open"), 1, Restricted({"acme": "grant"}, batch("closed"), frozenset()))
    disk.room = 1 << 30

    def content_is_removed() -> None:
        request = queue.take(None)
        assert request is not None
        queue.read(request)
        queue.put_back(request)

    during_the_next_write(monkeypatch, journal_of(queue), content_is_removed)
    while queue.sync() == 0.0:
        pass

    assert written(disk, queue) == ["closed"]


def during_the_next_write(
    monkeypatch: pytest.MonkeyPatch, journal: Journal, happens: Callable[[], None]
) -> None:
    """Have something happen once, on another thread as it were, between a write and its note."""
    add, left = journal.add, [happens]

    def added(*args: object, **more: object) -> object:
        entry = add(*args, **more)  # type: ignore[arg-type]
        if left:
            left.pop()()
        return entry

    monkeypatch.setattr(journal, "add", added)
