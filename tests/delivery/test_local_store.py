"""The local target: batches on disk, counted; a disk that fails costs the program nothing."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from somatrace.delivery.local_store import LocalTransport
from somatrace.delivery.span_count import span_count
from somatrace.local.ingest.fresh_store import FreshStore
from tests.delivery.support import batch, deliver, outbox_to
from tests.support.waiting import HANG


def stored(directory: Path) -> int:
    with closing(FreshStore(directory, patience=HANG)) as store:
        return store.read(lambda connection: connection.execute("SELECT count(*) FROM spans").fetchone()[0])


@pytest.fixture
def transport(tmp_path):
    with closing(LocalTransport(str(tmp_path), 1 << 20, 7.0)) as found:
        yield found


def test_a_batch_is_delivered_once_it_is_on_disk(tmp_path, transport):
    outbox, ledger = outbox_to(transport)
    outbox.queue.add(batch("a", "b"), 2)

    deliver(outbox)

    assert (ledger.delivered, stored(tmp_path)) == (2, 2)


def test_spans_deleted_to_make_room_are_counted_by_reason_beside_those_that_were_lost(tmp_path):
    transport = LocalTransport(str(tmp_path), 200_000, 7.0)
    outbox, ledger = outbox_to(transport)
    for _ in range(60):
        for _ in range(100):
            ledger.count_ended()
        outbox.queue.add(batch(*["work"] * 100), 100)
        deliver(outbox)

    transport.close()

    assert ledger.evicted.keys() == {"size"}
    assert ledger.evicted["size"] + stored(tmp_path) == 6_000 == ledger.delivered
    assert (ledger.waiting, ledger.lost) == (0, {})


def test_an_unwritable_directory_is_one_line_and_spans_wait(tmp_path, caplog):
    (tmp_path / "data").write_bytes(b"a file")
    with closing(LocalTransport(str(tmp_path / "data"), 1 << 20, 7.0)) as transport:
        outbox, ledger = outbox_to(transport, quick_retries=0)
        outbox.queue.add(batch("a"), 1)
        for _ in range(3):
            outbox.send(hurry=True)
        before = outbox.problems, ledger.delivered, len(caplog.messages)
        (tmp_path / "data").unlink()
        (tmp_path / "data").mkdir()

        outbox.send(hurry=True)

    assert before[0][0].startswith("target: local store: NotADirectoryError")
    assert before[1:] == (0, 1)
    assert (outbox.problems, ledger.delivered, stored(tmp_path / "data")) == ((), 1, 1)


def test_closing_and_sending_again_goes_on_in_another_segment(tmp_path, transport):
    for name in ("a", "b"):
        transport.send(batch(name), 1.0)
        transport.close()

    assert len(list((tmp_path / "spool").glob("*.segment"))) == 2
    assert stored(tmp_path) == 2


@given(st.lists(st.lists(st.lists(st.text(max_size=200), max_size=4), max_size=3), max_size=3), st.text())
def test_spans_are_counted_in_any_request(scopes, schema):
    request = ExportTraceServiceRequest()
    for of_resource in scopes:
        resource = request.resource_spans.add(schema_url=schema)
        resource.resource.attributes.add(key="x" * 200).value.string_value = schema
        for of_scope in of_resource:
            scope = resource.scope_spans.add(schema_url=schema)
            scope.scope.name = schema
            for name in of_scope:
                scope.spans.add(name=name * 100, trace_id=os.urandom(16))

    wanted = sum(len(of_scope) for of_resource in scopes for of_scope in of_resource)
    assert span_count(request.SerializeToString()) == wanted


@given(st.binary(max_size=100))
def test_counting_the_spans_of_other_bytes_ends(body):
    assert span_count(body) >= 0
