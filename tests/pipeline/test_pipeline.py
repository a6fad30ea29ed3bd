"""The weight of queued spans, and the limits of the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest
from opentelemetry.attributes import BoundedAttributes

from somatrace import event, span, status, tracing
from somatrace.listeners.record import Record
from somatrace.testing import capture
from tests.support.programs import run_program

MEGABYTE = "x" * 2**20
NESTS = "a" in BoundedAttributes(attributes={"a": {"b": 1}})


@contextmanager
def blocked_worker() -> Iterator[None]:
    """Block the worker in a listener, so that spans that end now stay queued."""
    reached, go_on = Event(), Event()

    def wait(record: Record) -> None:
        if record.span_name == "plug":
            reached.set()
            go_on.wait(60)

    with capture() as seen:
        pipeline = tracing.installed().pipeline
        pipeline.listen(wait)
        try:
            with span("plug"):
                pass
            assert reached.wait(60)
            yield
        finally:
            go_on.set()
            pipeline.unlisten(wait)
    assert seen.spans


@pytest.mark.parametrize(
    "put",
    [
        lambda current: current.set_attribute("text", MEGABYTE),
        lambda current: current.set_attribute("texts", [MEGABYTE[: 2**19]] * 2),
        pytest.param(
            lambda current: current.set_attribute("nested", {"messages": [{"content": MEGABYTE}]}),
            marks=pytest.mark.skipif(not NESTS, reason="this SDK does not accept mappings"),
        ),
        lambda current: current.set_attribute("bytes", MEGABYTE.encode()),
        lambda current: current.add_event("message", {"content": MEGABYTE}),
    ],
    ids=["a text", "a sequence", "a mapping", "bytes", "an event"],
)
def test_the_weight_of_a_queued_span_includes_all_its_texts(put) -> None:
    with blocked_worker():
        before = status().queued_bytes
        with span("heavy") as current:
            put(current)
        assert status().queued_bytes - before >= 2**20


def test_spans_beyond_the_queues_bytes_are_counted_as_lost_and_the_others_arrive() -> None:
    done = run_program(
        """
        import threading
        from somatrace import *
        reached, go_on = threading.Event(), threading.Event()
        def wait(record):
            reached.set()
            go_on.wait(60)
        init_tracing("full", config=Config(target="console", queue_bytes=4 * 2**20), listeners=[wait])
        with span("plug"):
            pass
        reached.wait(60)
        for _ in range(20):
            with span("heavy") as current:
                current.add_event("message", {"content": "x" * 2**20})
        go_on.set()
        flush(60)
        found = status()
        assert found.created == 21 == found.delivered + found.lost["queue_full"], found
        assert found.lost["queue_full"] >= 16, found
        """
    )
    assert done.stdout.count('"name": "heavy"') >= 1


def test_a_flood_of_events_is_counted_and_does_not_displace_spans() -> None:
    before = status()
    with blocked_worker(), span("flood"):
        for _ in range(70_000):  # more than half of the queue
            event("tick")
    after = status()
    assert after.unheard > before.unheard
    assert after.lost.get("queue_full", 0) == before.lost.get("queue_full", 0)
