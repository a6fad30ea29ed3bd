"""What services wrote to segments reaches the store: once, whoever is killed, and soon."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from somatrace.delivery.local_store import LocalTransport
from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.ingest.segment_ingest import SegmentIngest
from somatrace.local.store.database import FILE
from somatrace.local.store.store import Store
from somatrace.spool.spool_directory import lock, open_file, open_spool
from tests.support.local_server import Export
from tests.support.waiting import HANG, wait_until


def transport_to(directory: Path, max_bytes: int = 1 << 28, max_days: float = 7.0) -> LocalTransport:
    return LocalTransport(str(directory), max_bytes, max_days)


def body(*names: str) -> bytes:
    export = Export()
    for name in names:
        export.span(name)
    return export.bytes()


def names_in(store: Store) -> list[str]:
    return sorted(
        name
        for (name,) in store.read(lambda connection: connection.execute("SELECT name FROM spans").fetchall())
    )


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "spool").glob("*.segment"))


def write(directory: Path, *names: str) -> None:
    """Write one batch as a process that has ended since."""
    with closing(transport_to(directory)) as transport:
        assert transport.send(body(*names), 1.0).outcome == "accepted"


@pytest.fixture
def fresh(tmp_path):
    with closing(FreshStore(tmp_path, patience=HANG)) as found:
        yield found


def test_a_read_includes_what_a_service_has_just_written(tmp_path, fresh):
    with closing(transport_to(tmp_path)) as transport:
        for number in range(3):
            transport.send(body(f"span {number}"), 1.0)

            assert names_in(fresh) == [f"span {earlier}" for earlier in range(number + 1)]


def test_complete_segments_are_deleted_and_those_in_use_stay(tmp_path, fresh):
    write(tmp_path, "ended")
    with closing(transport_to(tmp_path)) as transport:
        transport.send(body("running"), 1.0)
        names_in(fresh)
        during = len(segments(tmp_path))
    fresh.segments.run(HANG)
    fresh.segments.run(HANG)

    assert (during, segments(tmp_path)) == (1, [])
    assert fresh.positions() == {}
    assert names_in(fresh) == ["ended", "running"]


def test_spans_have_the_time_at_which_they_were_written(tmp_path, fresh):
    before = time.time_ns()
    write(tmp_path, "work")
    after = time.time_ns()

    received = fresh.read(lambda connection: connection.execute("SELECT received_ns FROM spans").fetchone())

    assert before <= received[0] <= after


def test_a_reader_without_anything_new_touches_neither_lock_nor_store(tmp_path):
    assert SegmentIngest(Store(tmp_path)).catch_up(HANG)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_store_keeps_its_spans(tmp_path, fresh):
    with closing(Store(tmp_path)) as earlier:
        earlier.read(lambda connection: connection.execute("DROP TABLE IF EXISTS segments"))
    write(tmp_path, "old")
    names_in(fresh)
    fresh.read(lambda connection: connection.execute("DROP TABLE segments"))

    write(tmp_path, "new")

    assert names_in(fresh) == ["new", "old"]
    assert not list(tmp_path.glob(f"{FILE}.*-*"))


def test_a_damaged_record_is_skipped_and_reported(tmp_path):
    with closing(transport_to(tmp_path)) as transport:
        for name in ("first", "second", "third"):
            transport.send(body(name), 1.0)
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))
    reasons: list[str] = []

    with closing(FreshStore(tmp_path, skipped=reasons.append)) as found:
        assert names_in(found) == ["first", "third"]
    assert reasons == ["a damaged record"]
    assert segments(tmp_path) == []


def test_a_batch_that_cannot_be_decoded_is_skipped_and_reported(tmp_path):
    with closing(transport_to(tmp_path)) as transport:
        transport.send(b"\xff\xff", 1.0)
        transport.send(body("good"), 1.0)
    reasons: list[str] = []

    with closing(FreshStore(tmp_path, skipped=reasons.append)) as found:
        assert names_in(found) == ["good"]
    assert reasons == ["an unreadable batch"]


def test_a_record_torn_by_the_end_of_its_writer_is_ignored(tmp_path, fresh):
    write(tmp_path, "whole")
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole + whole[-100:-1])

    assert names_in(fresh) == ["whole"]
    assert segments(tmp_path) == []


def test_links_and_files_of_other_formats_are_neither_read_nor_deleted(tmp_path, fresh):
    write(tmp_path, "good")
    spool = tmp_path / "spool"
    (tmp_path / "victim").write_bytes(segments(tmp_path)[0].read_bytes())
    (spool / "0000000000000001-link.segment").symlink_to(tmp_path / "victim")
    (spool / "0000000000000002-newer.segment").write_bytes(b"SOMASEG9" + bytes(99))

    assert names_in(fresh) == ["good"]
    assert len(segments(tmp_path)) == 2
    assert not fresh.segments.waiting()


def test_a_store_that_cannot_be_written_keeps_segments_for_later(tmp_path, fresh):
    write(tmp_path, "work")
    (tmp_path / FILE).mkdir()

    assert fresh.segments.run(1.0) is False
    assert len(segments(tmp_path)) == 1

    (tmp_path / FILE).rmdir()
    assert names_in(fresh) == ["work"]


def test_a_store_replaced_after_damage_takes_in_what_is_still_there(tmp_path, fresh):
    with closing(transport_to(tmp_path)) as transport:
        transport.send(body("first"), 1.0)
        assert names_in(fresh) == ["first"]
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"{FILE}{suffix}").unlink(missing_ok=True)
        transport.send(body("second"), 1.0)

        assert names_in(fresh) == ["first", "second"]


def test_a_reader_waits_for_another_one_and_gives_up_in_time(tmp_path, fresh):
    write(tmp_path, "work")
    spool = open_spool(tmp_path, create=False)
    guard = open_file(spool, "ingest.lock", os.O_RDWR | os.O_CREAT)
    assert lock(guard)
    assert fresh.segments.run(0.01) is False

    os.close(guard)
    os.close(spool)
    assert names_in(fresh) == ["work"]


def test_threads_that_read_at_once_take_in_each_span_once(tmp_path, fresh):
    with closing(transport_to(tmp_path)) as transport:
        for number in range(30):
            transport.send(body(*(f"{number}.{each}" for each in range(5))), 1.0)
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(names_in(fresh))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(set(each)) for each in found] == [150] * 4
    assert arrived(fresh) == 150


def arrived(store: Store) -> int:
    """The number of spans that were counted on their arrival; one taken in twice counts twice."""
    return store.read(lambda connection: connection.execute("SELECT sum(spans) FROM arrivals").fetchone()[0])


def test_the_limit_on_what_waits_leaves_room_for_the_store(tmp_path):
    (tmp_path / FILE).write_bytes(bytes(900_000))
    with closing(transport_to(tmp_path, max_bytes=1_000_000)) as transport:
        for _ in range(200):
            transport.send(body(*["work"] * 50), 1.0)

    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 250_000


def test_the_server_shows_spans_of_a_running_service(server):
    def shown() -> set[str]:
        return {each.name for each in server.api.observations.get_many().data}

    with closing(transport_to(server.data_dir)) as transport:
        for number in range(3):
            transport.send(body(f"span {number}"), 1.0)

            wait_until(lambda count=number + 1: shown() == {f"span {earlier}" for earlier in range(count)})


def test_the_server_takes_in_and_deletes_segments_while_nobody_looks(server):
    write(server.data_dir, "work")

    wait_until(lambda: not segments(server.data_dir))

    with closing(Store(server.data_dir)) as beside:
        assert names_in(beside) == ["work"]


def test_the_page_counts_damaged_records(server):
    elsewhere = server.data_dir / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere, "work")
    path = segments(elsewhere)[0]
    path.write_bytes(path.read_bytes().replace(b"work", b"wOrk"))
    (elsewhere / "spool").rename(server.data_dir / "spool")

    with server.browser() as browser:
        wait_until(lambda: "a damaged record" in browser.get("/").text)


WRITER = """
import os, sys, time
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from somatrace.delivery.local_store import LocalTransport
transport = LocalTransport(sys.argv[1], 1 << 28, 7.0)
number = 0
while number < int(sys.argv[3]):
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(20):
        spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=f"{sys.argv[2]}.{number}")
        number += 1
    assert transport.send(request.SerializeToString(), 1.0).outcome == "accepted"
    print(number, flush=True)
    time.sleep(0.002)
"""
READER = """
import sys
from pathlib import Path
from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.ingest import segment_ingest
segment_ingest._SPANS = 40
store = FreshStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    store.segments.catch_up(60)
"""


@contextmanager
def running(root: Path, program: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program; killed at the end of the block."""
    command = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def written_by(writer: subprocess.Popen[str]) -> int:
    """The spans that a writer has acknowledged at its end."""
    assert writer.stdout is not None
    return max([0, *map(int, writer.stdout.read().split())])


@pytest.mark.slow
def test_readers_killed_anywhere_lose_nothing_and_take_in_nothing_twice(root, tmp_path):
    spans = 2000
    rng = random.Random(7)
    with running(root, WRITER, tmp_path, "w", spans) as writer:
        for _ in range(4):
            with running(root, READER, tmp_path) as reader:
                line_of(reader)
                time.sleep(rng.uniform(0.0, 0.2))
        assert written_by(writer) == spans

    with closing(FreshStore(tmp_path, patience=HANG)) as store:
        assert names_in(store) == sorted(f"w.{number}" for number in range(spans))
        assert arrived(store) == spans
    assert segments(tmp_path) == []


@pytest.mark.slow
def test_two_readers_and_two_writers_at_once_store_every_span_once(root, tmp_path):
    with (
        running(root, READER, tmp_path),
        running(root, READER, tmp_path),
        running(root, WRITER, tmp_path, "a", 1000) as one,
        running(root, WRITER, tmp_path, "b", 1000) as other,
    ):
        assert [written_by(one), written_by(other)] == [1000, 1000]
        with closing(FreshStore(tmp_path, patience=HANG)) as store:
            assert names_in(store) == sorted(f"{name}.{number}" for name in "ab" for number in range(1000))
            assert arrived(store) == 2000


@pytest.mark.slow
def test_what_a_killed_writer_acknowledged_is_stored(root, tmp_path):
    rng = random.Random(3)
    acknowledged = []
    for name in "ab":
        with running(root, WRITER, tmp_path, name, 10**6) as writer:
            line_of(writer)
            time.sleep(rng.uniform(0.0, 0.2))
            writer.kill()
            acknowledged.append(written_by(writer))

    with closing(FreshStore(tmp_path, patience=HANG)) as store:
        found = names_in(store)

    for name, least in zip("ab", acknowledged, strict=True):
        of_writer = [each for each in found if each.startswith(f"{name}.")]
        assert len(of_writer) == len(set(of_writer))
        assert least <= len(of_writer) <= least + 20
    assert segments(tmp_path) == []


@pytest.mark.slow
@pytest.mark.forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_while_a_reader_holds_the_lock_does_not_keep_it(tmp_path):
    write(tmp_path, "work")
    with closing(FreshStore(tmp_path, patience=HANG)) as store:
        with store.segments._alone(time.monotonic() + HANG) as spool:
            assert spool is not None
            if not (child := os.fork()):
                time.sleep(HANG)
                os._exit(0)
        try:
            assert names_in(store) == ["work"]
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
