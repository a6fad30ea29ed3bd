"""The store: batches, summaries, retention, concurrency, forks, and damaged or unusable files."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.local import data_dir
from somatrace.local.otlp.decode import DecodedSpan, SpanOrigin
from somatrace.local.queries import traces
from somatrace.local.store import database, retention, trace_rollup
from somatrace.local.store.database import FILE, StoreError
from somatrace.local.store.schema import VERSION
from somatrace.local.store.store import Store
from tests.support.waiting import HANG

ORIGIN = SpanOrigin({"service.name": "s"}, "scope", "", {})


def make(number: int, trace: int = 0, parent: int | None = None, **fields) -> DecodedSpan:
    attributes = fields.pop("attributes", {})
    given = {"name": f"span {number}", "kind": 1, "start_ns": 10**18 + number, "end_ns": 10**18 + number + 5}
    return DecodedSpan(
        origin=ORIGIN,
        trace_id=f"{trace + 1:032x}",
        span_id=f"{number + 1:016x}",
        parent_id=None if parent is None else f"{parent + 1:016x}",
        status=0,
        status_message="",
        attributes=attributes,
        **{**given, **fields},
    )


def count(store: Store, table: str = "spans") -> int:
    return store.read(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def trace_rows(store: Store) -> list:
    return store.read(
        lambda connection: connection.execute("SELECT * FROM traces ORDER BY trace_id").fetchall()
    )


def test_importing_what_reads_the_store_loads_no_web_library():
    program = (
        "import sys, somatrace.local.ingest.fresh_store; "
        "print({'starlette', 'jinja2', 'uvicorn', 'anyio', 'opentelemetry.sdk'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True, timeout=180).strip() == "set()"


def test_files_are_private_with_any_umask(tmp_path, export, sink):
    before = os.umask(0)
    try:
        request = export()
        request.span()
        sink.send(request.bytes())
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(found.values()) == {0o600}
    assert FILE in found


def test_a_batch_needs_few_statements_for_any_number_of_spans_and_traces(store):
    # next to a thread that computes, each statement waits 5 ms for the interpreter: 512 would take seconds
    store.add([make(0)])
    statements: list[str] = []
    store.read(lambda connection: connection.set_trace_callback(statements.append))
    spans = [make(number, trace=number // 4, parent=None if number % 4 else 1) for number in range(1, 700)]
    store.add(spans)
    assert len(statements) < 100
    assert (count(store), len(trace_rows(store))) == (700, 175)


def test_a_resent_batch_changes_nothing(tmp_path, export, sink, store):
    request = export()
    root = request.span(attributes={"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5})
    request.span(parent=root, failed="no")
    sink.send(request.bytes())
    first = trace_rows(store)
    sink.send(request.bytes())
    assert count(store) == 2
    assert trace_rows(store) == first


def test_a_duplicate_span_in_one_batch_counts_once_and_the_last_one_wins(store):
    store.add([make(0, name="first"), make(0, name="last")])
    assert store.read(lambda connection: connection.execute("SELECT name FROM spans").fetchall()) == [
        ("last",)
    ]
    assert trace_rows(store)[0][14:17] == (10**18, 10**18 + 5, 1)


spans = st.builds(
    make,
    st.integers(0, 6),
    trace=st.integers(0, 2),
    parent=st.none() | st.integers(0, 6),
    start_ns=st.integers(0, 20),
    attributes=st.sampled_from(
        [
            {},
            {"tenant_id": "acme", "workflow_name": "w"},
            {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3, "gen_ai.usage.cost": 0.5},
            {"gen_ai.request.model": "m"},
        ]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(spans, max_size=6), max_size=5))
def test_the_row_of_a_trace_always_matches_its_spans(tmp_path, batches):
    store = Store(tmp_path / os.urandom(4).hex())
    store.directory.mkdir()
    for batch in batches:
        store.add(batch)
    kept = trace_rows(store)

    def rebuilt(connection):
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        trace_rollup.rebuild(connection, [row[0] for row in kept])
        return connection.execute("SELECT * FROM traces ORDER BY trace_id").fetchall()

    assert store.read(rebuilt) == kept
    assert count(store, "(SELECT DISTINCT trace_id FROM spans)") == len(kept)
    store.close()


def test_deleting_a_span_or_a_trace_updates_the_row_of_the_trace(store):
    store.add([make(0), make(1, parent=0), make(2, trace=1)])
    assert store.delete(f"{1:032x}", f"{2:016x}") == 1
    assert [row[16] for row in trace_rows(store)] == [1, 1]
    assert store.delete(f"{1:032x}") == 1
    assert [row[0] for row in trace_rows(store)] == [f"{2:032x}"]
    assert store.delete("nothing") == 0


def test_over_the_size_limit_the_oldest_traces_are_deleted_and_the_file_shrinks(tmp_path):
    big, small = Store(tmp_path, max_bytes=1 << 40), Store(tmp_path, max_bytes=1_000_000)
    for trace in range(60):
        big.add([make(2 * trace, trace, attributes={"x": "y" * 50_000}), make(2 * trace + 1, trace)])
    big.close()
    before = (tmp_path / FILE).stat().st_size
    small.add([make(1000, 100)])
    kept = [int(row[0], 16) - 1 for row in trace_rows(small)]
    small.close()
    assert before > 1_500_000
    assert kept == [*range(kept[0], 60), 100]
    assert kept[0] > 0
    after = (tmp_path / FILE).stat().st_size
    assert after < before


def test_the_file_stays_under_the_limit_while_spans_keep_arriving(tmp_path):
    store = Store(tmp_path, max_bytes=4_000_000)
    for trace in range(300):
        store.add([make(number, trace, attributes={"x": "y" * 3000}) for number in range(20)])
    store.close()
    # plus the free pages kept for the next batch
    assert (tmp_path / FILE).stat().st_size < 4_000_000 + 3_000_000
    store = Store(tmp_path)
    assert count(store) > 500
    store.close()


def test_over_the_age_limit_traces_and_unused_origins_are_deleted(tmp_path):
    store = Store(tmp_path, max_days=7)
    store.add([make(0)])
    other = SpanOrigin({"service.name": "other"}, "scope", "", {})

    def age(connection):
        connection.execute("COMMIT")
        for table, column in (("traces", "received_ns"), ("spans", "received_ns"), ("origins", "seen_ns")):
            connection.execute(f"UPDATE {table} SET {column} = {column} - 8 * 86400 * 1000000000")

    store.read(age)
    fresh = make(1, trace=1)
    store.add(
        [DecodedSpan(**{**{name: getattr(fresh, name) for name in DecodedSpan.__slots__}, "origin": other})]
    )
    assert [row[0] for row in trace_rows(store)] == [f"{2:032x}"]
    assert (count(store), count(store, "origins")) == (1, 1)
    store.close()


def test_a_trace_with_any_start_time_can_be_deleted_as_the_oldest(tmp_path):
    store = Store(tmp_path, max_bytes=100_000)
    store.add([make(0, 0, start_ns=2**62, attributes={"x": "y" * 90_000})])
    store.add([make(1, 1, start_ns=1, attributes={"x": "y" * 90_000})])
    assert [int(row[0], 16) - 1 for row in trace_rows(store)] in ([1], [])
    store.close()


def test_lowering_the_limit_never_blocks_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "_SECONDS", 0.0)
    filling, capped = Store(tmp_path), Store(tmp_path, max_bytes=1000)
    filling.add([make(number, number, attributes={"x": "y" * 10_000}) for number in range(200)])
    filling.close()
    capped.add([make(1000, 1000)])
    assert count(capped, "traces") == 201
    capped.close()


@pytest.fixture
def patient(monkeypatch):
    """Let writers and forks wait for another one as long as a busy machine needs."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", HANG)
    monkeypatch.setattr(database, "_FORK_SECONDS", HANG)
    monkeypatch.setattr(data_dir, "_LOCK_SECONDS", HANG)


WRITER = """
import sys
from pathlib import Path
from somatrace.local import data_dir
from somatrace.local.otlp.decode import Limits, from_protobuf
from somatrace.local.store.store import Store
from somatrace.local.store import database
database._BUSY_SECONDS = data_dir._LOCK_SECONDS = 60.0
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
import os
store = Store(Path(sys.argv[1]), 1 << 40, 7)
for batch in range(20):
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(25):
        spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=sys.argv[2])
    while True:
        try:
            store.add(from_protobuf(request.SerializeToString(), Limits()))
            break
        except Exception as error:
            print(repr(error), file=sys.stderr)
"""


@pytest.mark.usefixtures("patient")
def test_several_processes_create_write_and_read_one_store_concurrently(tmp_path, store):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(number)], stderr=subprocess.PIPE)
        for number in range(4)
    ]
    while any(writer.poll() is None for writer in writers):
        assert count(store) % 25 == 0
        time.sleep(0.05)
    assert [writer.communicate(timeout=180)[1] for writer in writers] == [b""] * 4
    assert count(store) == 4 * 20 * 25


@pytest.mark.usefixtures("patient")
def test_several_threads_write_and_read_one_store_concurrently(store):
    failures = []

    def work(number: int) -> None:
        try:
            for batch in range(10):
                store.add([make(batch * 10 + i, trace=number) for i in range(10)])
                count(store)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count(store) == 600


def _child(store: Store, number: int) -> None:
    for batch in range(10):
        store.add([make(batch, trace=number)])


@pytest.mark.slow
@pytest.mark.forks
@pytest.mark.usefixtures("patient")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parent_and_forked_children_keep_writing_to_the_same_store(store):
    store.add([make(0, trace=100)])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(store, number)) for number in range(3)]
    for child in children:
        child.start()
    for batch in range(10):
        store.add([make(batch, trace=101)])
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert count(store) == 1 + 10 + 30
    assert store.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()) == ("ok",)


@pytest.mark.slow
@pytest.mark.forks
@pytest.mark.usefixtures("patient")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_during_writes_of_other_threads_loses_nothing(store):
    done = threading.Event()
    written = []

    def write() -> None:
        while not done.is_set():
            store.add([make(len(written), trace=7)])
            written.append(1)

    thread = threading.Thread(target=write)
    thread.start()
    context = multiprocessing.get_context("fork")
    exits = []
    for number in range(5):
        child = context.Process(target=_child, args=(store, 200 + number))
        child.start()
        child.join(60)
        exits.append(child.exitcode)
    done.set()
    thread.join()
    assert exits == [0] * 5
    assert count(store) == len(written) + 50
    assert store.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()) == ("ok",)


@pytest.mark.slow
@pytest.mark.forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_during_a_stuck_read_does_not_touch_the_store(tmp_path, store, monkeypatch):
    monkeypatch.setattr(database, "_FORK_SECONDS", 0.1)
    reading, done = threading.Event(), threading.Event()

    def stuck(connection):
        reading.set()
        done.wait(60)

    thread = threading.Thread(target=store.read, args=(stuck,))
    thread.start()
    reading.wait(60)

    def refused():
        for found in (store, Store(tmp_path)):
            with pytest.raises(StoreError, match="when this process was forked"):
                found.add([make(1)])

    child = multiprocessing.get_context("fork").Process(target=refused)
    child.start()
    child.join(60)
    done.set()
    thread.join()
    assert child.exitcode == 0
    store.add([make(0)])
    assert count(store) == 1


def test_a_corrupt_file_is_set_aside_and_the_batch_is_stored_in_a_new_one(tmp_path, export, sink, store):
    (tmp_path / FILE).write_bytes(b"this is no database" * 1000)
    (tmp_path / FILE).chmod(0o600)
    request = export()
    request.span()
    sink.send(request.bytes())
    assert count(store) == 1
    aside = [path for path in tmp_path.iterdir() if path.name.startswith("local.db.corrupt-")]
    assert [path.read_bytes()[:7] for path in aside] == [b"this is"]


def test_a_file_corrupted_under_an_open_connection_is_set_aside(tmp_path, store):
    store.add([make(number, attributes={"x": "y" * 5000}) for number in range(50)])
    store.close()
    again = Store(tmp_path)
    count(again)
    with (tmp_path / FILE).open("r+b") as file:
        for page in range(1, 60):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    again.add([make(1, trace=5)])
    assert count(again) == 1
    assert list(tmp_path.glob("local.db.corrupt-*"))
    again.close()


def test_only_the_newest_corrupt_file_is_kept(tmp_path):
    for _ in range(3):
        (tmp_path / FILE).write_bytes(b"this is no database" * 1000)
        for name in ("local.db-wal", "local.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        store = Store(tmp_path)
        store.add([make(0)])
        store.close()
    assert len(list(tmp_path.glob("local.db.corrupt-*"))) == 1


def test_a_store_recovers_when_its_deleted_directory_reappears(tmp_path):
    store = Store(tmp_path / "data")
    (tmp_path / "data").mkdir()
    store.add([make(0)])
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        store.add([make(1)])
    (tmp_path / "data").mkdir()
    store.add([make(2)])
    assert count(store) == 1
    store.close()


def test_a_connection_to_a_file_that_was_moved_is_never_used_again(tmp_path):
    store = Store(tmp_path / "data")
    (tmp_path / "data").mkdir()
    store.add([make(0)])

    def move(connection):
        (tmp_path / "data").rename(tmp_path / "moved")
        (tmp_path / "data").mkdir()
        store.add([make(1)])

    store.read(move)
    for number in (2, 3):
        store.add([make(number)])
    assert count(store) == 3
    store.close()


def test_a_locked_database_is_an_error_and_does_not_hang(tmp_path, store):
    store.add([make(0)])
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.add([make(1)])
    other.close()
    store.add([make(1)])
    assert count(store) == 2


def test_a_full_disk_is_an_error_without_a_partial_batch(tmp_path, store):
    store.add([make(0)])

    def no_room(connection):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    store.read(no_room)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.add([make(number, attributes={"x": "y" * 9000}) for number in range(1, 100)])
    assert count(store) == 1


def test_a_directory_that_is_missing_or_a_file_is_an_error(tmp_path):
    for place in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            Store(place).add([make(0)])


def test_a_symlink_in_place_of_the_database_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FILE).symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        Store(tmp_path / "data").add([make(0)])
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_store_of_a_newer_version_is_not_touched(tmp_path, store):
    store.add([make(0)])
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer somatrace"):
        Store(tmp_path).add([make(1)])


def test_a_closed_store_raises(store):
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.add([make(0)])


def test_huge_numbers_do_not_overflow_sums(store):
    attributes = {
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 2**63 - 1,
        "gen_ai.usage.cost": 1e308,
    }
    usage = {
        "langfuse.observation.usage_details": json.dumps(
            {"input": 10**12, "output": 10**400, "x": float("inf")}
        )
    }
    store.add([make(number, attributes=attributes) for number in range(50)])
    store.add([make(100 + number, attributes=attributes | usage) for number in range(50)])
    (row,), _ = store.read(lambda connection: traces.newest(connection, traces.TraceFilter()))
    assert row["input_tokens"] == 50 * 10**12
    assert row["cost"] == 0


def test_an_invalid_body_is_a_value_error(sink):
    with pytest.raises(ValueError, match="Failed to parse"):
        sink.send(b"\xff\xff")


def test_a_reader_sees_one_snapshot_while_others_write(store):
    store.add([make(0)])

    def twice(connection):
        first = connection.execute("SELECT count(*) FROM spans").fetchone()[0]
        store.add([make(1)])
        return first, connection.execute("SELECT count(*) FROM spans").fetchone()[0]

    assert store.read(twice) == (1, 1)
    assert count(store) == 2


def test_lists_use_indexes_without_sorting(store):
    store.add([make(0)])
    plans = []

    def explain(connection):
        connection.set_trace_callback(lambda sql: plans.append(sql) if sql.startswith("SELECT") else None)
        before = (10**18, "f" * 32)
        for chosen in (
            traces.TraceFilter(before=before),
            traces.TraceFilter(tenant="acme", before=before),
            traces.TraceFilter(tenant="acme", workflow="w", before=before),
            traces.TraceFilter(status="failed", before=before),
        ):
            traces.newest(connection, chosen)
        connection.set_trace_callback(None)
        return [
            " ".join(step[3] for step in connection.execute("EXPLAIN QUERY PLAN " + sql))
            for sql in list(plans)
        ]

    found = store.read(explain)
    assert len(found) == 4
    for plan in found:
        assert "USING INDEX" in plan or "USING COVERING INDEX" in plan
        assert "TEMP B-TREE" not in plan
