"""Times of spans and events are numbers and kinds those of OpenTelemetry, whatever code gives for them."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from somatrace import tracing
from somatrace.testing import capture

CANARY = "canary-2207"


class Text(str):
    """A text of a class of its own."""

    __slots__ = ()


class Number(int):
    """A number that shows a text."""

    def __str__(self) -> str:
        return CANARY

    __repr__ = __str__


GIVEN = [
    CANARY,
    Text(CANARY),
    [CANARY],
    {"time": CANARY},
    1.5,
    True,
    -1,
    2**64,
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
]


class Collector(SpanProcessor):
    """Reads the times of live and of ended spans."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.seen += [span.start_time, int(span.kind.value)]

    def _on_ending(self, span: Any) -> None:
        self.seen += [span.start_time, span.end_time, *(event.timestamp for event in span.events)]

    def on_end(self, span: ReadableSpan) -> None:
        self.seen += [
            int(span.kind.value),
            span.start_time,
            span.end_time,
            *(event.timestamp for event in span.events),
        ]
        self.seen.append(span.to_json())


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: type(given).__name__)
def test_a_time_that_is_no_number_of_nanoseconds_is_the_current_one(given: Any) -> None:
    before = time.time_ns()
    collector = Collector()
    with capture() as seen:
        processor = tracing.installed().span_processor
        processor.add_span_processor(collector)
        try:
            work = trace.get_tracer("library").start_span("work", start_time=given, kind=given)
            work.add_event("happened", timestamp=given)
            work.record_exception(ValueError(), timestamp=given)
            work.end(given)
            tracing.flush(60)
        finally:
            processor.remove_span_processor(collector)
    found = seen.named("work")
    times = [found.start_time, found.end_time, *(event.timestamp for event in found.events)]
    assert len(times) == 4
    assert all(type(one) is int and before <= one <= time.time_ns() for one in times)
    assert CANARY not in repr((collector.seen, seen.records))
    assert {type(one) for one in collector.seen} == {int, str}
    assert found.kind is trace.SpanKind.INTERNAL
    assert seen.bytes


def test_times_that_are_given_as_numbers_are_kept() -> None:
    with capture() as seen:
        work = trace.get_tracer("library").start_span("work", start_time=Number(1))
        work.add_event("happened", timestamp=2)
        work.end(Number(3))
    found = seen.named("work")
    assert (found.start_time, found.events[0].timestamp, found.end_time) == (1, 2, 3)
    assert CANARY not in repr(seen.records)
    ended = [record for record in seen.records if record.phase == "ended"]
    assert [record.duration_ns for record in ended] == [2]


def test_a_dropped_time_is_one_line_of_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    with capture(), caplog.at_level("DEBUG", "somatrace"):
        trace.get_tracer("library").start_span("work", start_time=CANARY).end()  # type: ignore[arg-type]
    lines = [record.getMessage() for record in caplog.records if "time" in record.getMessage()]
    assert lines == ["a time of a span or event was dropped: str is not a time in nanoseconds"]
