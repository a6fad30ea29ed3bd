"""`somatrace.testing.capture` has every span of its block, or says that it has not, and why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from somatrace import span
from somatrace.testing import capture
from somatrace.tracing import installed
from tests.support.programs import run_program


class Stuck(SpanProcessor):
    """Holds up everything behind it until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        self.released.wait(60)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    with capture():
        pass
    processor = Stuck()
    live: Any = installed()
    live.span_processor.add_span_processor(processor)
    yield processor
    processor.released.set()
    live.pipeline.flush(60)
    live.span_processor.remove_span_processor(processor)


@pytest.mark.usefixtures("stuck")
def test_a_block_whose_spans_do_not_arrive_in_time_fails_with_their_number() -> None:
    late = pytest.raises(AssertionError, match=r"2 of 2 spans of the block have not arrived after 0\.2 s")
    with late, capture(timeout=0.2):
        for name in ("first", "second"):
            with span(name):
                pass


@pytest.mark.usefixtures("stuck")
def test_a_block_that_fails_keeps_its_exception_with_a_note_of_the_missing_spans() -> None:
    with pytest.raises(LookupError) as caught, capture(timeout=0.2):
        with span("first"):
            pass
        raise LookupError

    assert caught.value.__notes__ == ["capture: 1 of 1 spans of the block have not arrived after 0.2 s"]


@pytest.mark.usefixtures("stuck")
def test_spans_from_before_the_block_that_are_still_in_work_fail_it() -> None:
    with span("before"):
        pass

    late = pytest.raises(AssertionError, match="spans from before the block are still in work")
    with late, capture(timeout=0.2):
        pass


def test_a_block_whose_spans_arrive_is_complete() -> None:
    with capture() as seen:
        for _ in range(200):
            with span("work"):
                pass

    assert len(seen.spans) == 200
    assert not seen.dropped


def test_a_missing_span_is_reported_with_the_spans_that_were_dropped() -> None:
    with capture() as seen, trace.use_span(trace.NonRecordingSpan(unsampled())):
        with span("left out"):
            pass
        live: Any = installed()
        live.ledger.count_ended()
        live.ledger.lose("queue_full")

    with pytest.raises(AssertionError, match=r"0 spans named 'left out'.*dropped: \{'queue_full': 1\}"):
        seen.named("left out")


def unsampled() -> trace.SpanContext:
    return trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(0))


@pytest.mark.slow
def test_a_target_that_is_away_does_not_fail_the_block() -> None:
    done = run_program(
        """
        import somatrace
        from somatrace.testing import capture
        somatrace.init_tracing("svc")
        with capture(timeout=1) as seen, somatrace.span("work"):
            pass
        print([one.name for one in seen.spans])
        with capture(timeout=1) as seen, somatrace.span("more"):
            pass
        print([one.name for one in seen.spans])
        """,
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    )

    assert done.stdout.splitlines() == ["['work']", "['more']"]


def test_threads_that_end_spans_all_the_time_do_not_fail_a_block() -> None:
    stopped = threading.Event()

    def busy() -> None:
        while not stopped.is_set():
            with span("other"):
                pass
            stopped.wait(0.0002)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            with capture() as captured, span("own"):
                pass
            captured.named("own")
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
