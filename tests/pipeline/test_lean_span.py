"""A lean span behaves like the SDK's, whatever is done to it, and costs less."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider, _Span
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ci.sdk_tests.provider import SdkArguments, close_pipelines
from somatrace.pipeline import provider as provider_module
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.sdk_form import is_known
from somatrace.testing import capture

#: The oldest supported SDK keeps attributes in another way, and gets its own spans.
needs_lean_spans = pytest.mark.skipif(
    not is_known(), reason="lean spans do not know this version of the SDK, which makes its own"
)
ELSEWHERE = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1))
RESOURCE = Resource({"service.name": "svc"})

keys = st.sampled_from(["a", "b", "c", "d", "e", ""])
scalars = st.sampled_from(["", "x", "y" * 127, "z" * 400, 0, 1, True, 1.5, b"raw", None])
values = scalars | st.lists(scalars, max_size=3) | st.lists(scalars, max_size=2).map(tuple)
mappings = st.dictionaries(keys, values | st.dictionaries(keys, scalars, max_size=2), max_size=5)
codes = st.sampled_from(list(StatusCode))


def operation(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Callable[[Any], Any]]:
    """Calls of a method of a span."""
    return st.tuples(*arguments).map(lambda drawn: lambda span: getattr(span, name)(*drawn))


operations = st.lists(
    operation("set_attribute", keys, values)
    | operation("set_attributes", mappings)
    | operation("add_event", st.sampled_from(["said", "done"]), mappings, st.integers(1, 9))
    | operation("add_link", st.just(ELSEWHERE), mappings)
    | operation("update_name", st.sampled_from(["first", "second"]))
    | operation("set_status", codes)
    | operation("set_status", codes, st.sampled_from([None, "why"]))
    | operation("set_status", codes.map(Status))
    | operation("record_exception", st.just(ValueError("no")), mappings, st.integers(1, 9))
    | operation("end", st.integers(20, 40)),
    max_size=12,
)
limits = st.builds(
    SpanLimits,
    max_span_attributes=st.sampled_from([0, 2, 4, 128]),
    max_events=st.sampled_from([0, 2, 128]),
    max_links=st.sampled_from([0, 1, 128]),
    max_event_attributes=st.just(128),  # a recorded exception has one attribute more here
    max_span_attribute_length=st.sampled_from([None, 3, 200]),
)


def sdk_version() -> tuple[int, ...]:
    return tuple(map(int, metadata.version("opentelemetry-sdk").split(".")[:2]))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    close_pipelines()


def lean(**arguments: Any) -> LeanSpan:
    """A span of a provider of its own."""
    limits = arguments.pop("limits", None)
    provider = SdkArguments(resource=RESOURCE, shutdown_on_exit=False, span_limits=limits)
    span = provider.get_tracer("app", "1").start_span("work", **arguments)
    assert type(span) is LeanSpan
    return span


def seen(span: Any) -> dict[str, Any]:
    """All that can be read of a span, without its ids and the texts of stacks."""

    def attributes_of(part: Any) -> dict[str, Any]:
        left_out = ("exception.stacktrace", "somatrace.failure")
        return {key: value for key, value in part.attributes.items() if key not in left_out}

    return {
        "name": (span.name, span.kind, span.parent, span.start_time, span.end_time, span.is_recording()),
        "status": (span.status.status_code, span.status.description),
        "attributes": list(span.attributes.items()),
        "events": [(event.name, event.timestamp, attributes_of(event)) for event in span.events],
        "links": [(link.context, attributes_of(link)) for link in span.links],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "origin": (dict(span.resource.attributes), span.instrumentation_scope),
        "held": (dict(span._attributes), span._attributes._immutable, len(span._events), len(span._links)),
    }


@needs_lean_spans
@given(operations, limits, mappings, st.sampled_from(list(SpanKind)))
def test_whatever_is_done_to_it_reads_like_on_the_sdks_span(done, limits, attributes, kind) -> None:
    arguments = {"attributes": attributes, "kind": kind, "start_time": 10, "links": (Link(ELSEWHERE),)}
    theirs = TracerProvider(resource=RESOURCE, shutdown_on_exit=False, span_limits=limits)
    expected = theirs.get_tracer("app", "1").start_span("work", **arguments)
    ours = lean(limits=limits, **arguments)
    for change in done:
        change(expected)
        change(ours)
    close_pipelines()
    assert seen(ours) == seen(expected)


@needs_lean_spans
def test_it_is_a_span_of_the_sdk_with_the_sdks_attributes() -> None:
    span = lean(attributes={"a": 1})
    assert isinstance(span, _Span)
    assert isinstance(span, ReadableSpan)
    assert isinstance(span._attributes, BoundedAttributes)
    assert isinstance(span.attributes, MappingProxyType)


@needs_lean_spans
def test_it_is_shown_as_json_like_the_sdks() -> None:
    arguments: dict[str, Any] = {"attributes": {"a": ["x"], "b": 2}, "start_time": 10}
    theirs = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    shown = []
    for span in (theirs.get_tracer("app", "1").start_span("work", **arguments), lean(**arguments)):
        span.add_event("said", {"c": 3}, 11)
        span.end(12)
        shown.append({**json.loads(span.to_json()), "context": None})
    assert shown[0] == shown[1]


@needs_lean_spans
def test_attributes_that_other_code_writes_in_place_are_recorded() -> None:
    span = lean()
    span._attributes["a"] = [1, 2]
    span._attributes.update(b=2)
    assert dict(span.attributes) == {"a": (1, 2), "b": 2}


@needs_lean_spans
def test_attributes_that_other_code_replaces_are_recorded() -> None:
    span = lean(attributes={"a": 1})
    span._attributes = {"b": 2}
    assert dict(span.attributes) == {"b": 2}


@needs_lean_spans
def test_after_the_end_its_attributes_refuse_to_be_changed() -> None:
    span = lean(attributes={"a": 1})
    span.end()
    with pytest.raises(TypeError):
        span._attributes["a"] = 2
    span.set_attribute("a", 2)
    span.set_attributes({"a": 2})
    assert dict(span.attributes) == {"a": 1}


@needs_lean_spans
def test_it_cannot_be_pickled_like_the_sdks() -> None:
    with pytest.raises((TypeError, AttributeError)):
        pickle.dumps(lean())


def test_ended_by_many_threads_at_once_it_arrives_once() -> None:
    barrier = threading.Barrier(4)

    def end_together(span: Any, barrier: threading.Barrier) -> None:
        barrier.wait()
        span.end()

    with capture() as found:
        for number in range(50):
            span = trace.get_tracer("app").start_span(f"work-{number}")
            threads = [threading.Thread(target=end_together, args=(span, barrier)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert sorted(span.name for span in found.spans) == sorted(f"work-{number}" for number in range(50))


@needs_lean_spans
def test_events_that_threads_add_at_once_are_all_kept() -> None:
    span = lean()
    barrier = threading.Barrier(8)

    def add() -> None:
        barrier.wait()
        for _ in range(10):
            span.add_event("said")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(span.events) == 80


def test_a_span_that_is_changed_while_it_is_ended_arrives() -> None:
    with capture() as found:
        for _ in range(30):
            span = trace.get_tracer("app").start_span("work")
            stop = threading.Event()

            def change(span: Any = span, stop: Any = stop) -> None:
                number = 0
                while not stop.is_set():
                    span.set_attribute(f"count.{number % 90}", number)
                    number += 1

            thread = threading.Thread(target=change)
            thread.start()
            span.end()
            stop.set()
            thread.join()
    assert len(found.spans) == 30


def test_the_block_around_a_span_is_a_decorator_too() -> None:
    with capture() as found:

        @trace.get_tracer("app").start_as_current_span("work")
        def work(number: int) -> int:
            return number + 1

        assert [work(1), work(2)] == [2, 3]
    assert [span.name for span in found.spans] == ["work", "work"]


def test_the_block_around_a_span_decorates_coroutine_functions() -> None:
    with capture() as found:

        @trace.get_tracer("app").start_as_current_span("work")
        async def work() -> bool:
            return trace.get_current_span().is_recording()

        assert asyncio.run(work())
    assert [span.name for span in found.spans] == ["work"]


def test_an_sdk_of_another_form_gets_its_own_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "is_known", lambda: False)
    provider = SdkArguments(shutdown_on_exit=False)
    with provider.get_tracer("app").start_as_current_span("work", attributes={"a": 1}) as span:
        assert type(span) is not LeanSpan
        assert dict(span.attributes) == {"a": 1}
    assert not provider.is_lean


@pytest.mark.skipif(sdk_version() < (1, 45), reason="only the newest supported SDK has to be known")
def test_the_form_of_the_newest_sdk_is_known() -> None:
    assert is_known()


@pytest.mark.parametrize("part", ["_Span", "Tracer"])
def test_an_sdk_that_keeps_more_on_a_span_is_not_known(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from somatrace.pipeline import sdk_form

    class _Other(_Span):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._baggage = {}

    class _Starts:
        def start_span(self, name: str, *, baggage: object) -> None: ...

    monkeypatch.setattr(sdk_form, part, _Other if part == "_Span" else _Starts)
    assert not is_known.__wrapped__()
