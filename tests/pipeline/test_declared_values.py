"""Declared values: only what the program says through `span`, not what other code writes in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from somatrace import span, tracing
from somatrace.testing import Captured, assert_no_content, capture

SAID = "said by the program"
WRITTEN = "words from elsewhere"


class Writer(SpanProcessor):
    """A third-party processor that writes to each span at its start."""

    def __init__(self, write: Callable[[Span], object]) -> None:
        self.write = write

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.write(span)


@contextmanager
def written_to(write: Callable[[Span], object]) -> Iterator[Captured]:
    with capture() as seen:
        live = tracing.installed()
        assert live is not None
        assert live.span_processor is not None
        writer = Writer(write)
        live.span_processor.add_span_processor(writer)
        try:
            yield seen
        finally:
            live.span_processor.remove_span_processor(writer)


def sets(key: str, value: Any) -> Callable[[Span], object]:
    return lambda span: span.set_attribute(key, value)


def renames(name: str) -> Callable[[Span], object]:
    return lambda span: span.update_name(name)


class Always(str):
    """A text that equals every other one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def attributes_of(seen: Captured) -> dict[str, Any]:
    (work,) = seen.spans
    return dict(work.attributes or {})


@pytest.mark.parametrize("value", [WRITTEN, Always(WRITTEN), [WRITTEN], [Always(WRITTEN)]], ids=repr)
@pytest.mark.parametrize("given", [SAID, [SAID], 7], ids=repr)
def test_a_value_that_a_processor_writes_at_the_start_is_not_declared(given: Any, value: Any) -> None:
    with (
        written_to(lambda span: span.set_attribute("note", value)) as seen,
        span("work", note=given, own=SAID),
    ):
        pass
    attributes = attributes_of(seen)
    assert "note" not in attributes
    assert attributes["own"] == SAID
    assert_no_content(seen, WRITTEN)


def test_a_value_that_a_processor_leaves_as_it_is_stays_declared() -> None:
    declared = {"note": SAID, "notes": [SAID, "and more words"], "number": 2, "share": float("nan")}
    with written_to(sets("other", WRITTEN)) as seen, span("work", **declared):
        pass
    attributes = attributes_of(seen)
    assert attributes["note"] == SAID
    assert attributes["notes"] == (SAID, "and more words")
    assert "other" not in attributes


def test_a_value_that_a_sampler_writes_is_not_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    class Writes(Sampler):
        def should_sample(self, *given: Any, **_: Any) -> SamplingResult:
            attributes = given[4]
            return SamplingResult(Decision.RECORD_AND_SAMPLE, {**(attributes or {}), "note": WRITTEN})

        def get_description(self) -> str:
            return "writes"

    from somatrace.api import span_scopes as api

    with capture() as seen:
        monkeypatch.setattr(api._tracer(), "sampler", Writes())
        with span("work", note=SAID, own=SAID):
            pass
    attributes = attributes_of(seen)
    assert "note" not in attributes
    assert attributes["own"] == SAID


def test_a_value_that_a_limit_truncates_stays_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import SpanLimits

    from somatrace.api import span_scopes as api

    with capture() as seen:
        limits = SpanLimits(max_span_attribute_length=11)
        monkeypatch.setattr(api._tracer(), "_span_limits", limits)
        monkeypatch.setattr(api._tracer(), "short_text", 11, raising=False)
        with span("work", note=SAID, notes=[SAID, "short"]):
            pass
    attributes = attributes_of(seen)
    assert attributes["note"] == SAID[:11]
    assert attributes["notes"] == (SAID[:11], "short")


@pytest.mark.parametrize("name", ["words from elsewhere", "please answer this"])
def test_a_name_that_a_processor_gives_is_that_of_a_library(name: str) -> None:
    with written_to(renames(name)) as seen, span("my work", kind="workflow"), span("my step"):
        pass
    assert [work.name for work in seen.spans] == ["somatrace.step", "somatrace.workflow"]
    assert {(work.attributes or {})["workflow_name"] for work in seen.spans} == {"my work"}
    assert_no_content(seen, name)


def test_a_later_name_of_one_word_leaves() -> None:
    with capture() as seen, span("my work") as work:
        work.update_name("other")
    assert [found.name for found in seen.spans] == ["other"]


def test_a_refused_later_name_does_not_spoil_the_same_name_given_to_span() -> None:
    with capture() as seen:
        with span("first") as work:
            work.update_name("a later name")
        with span("a later name"):
            pass
    assert [found.name for found in seen.spans] == ["somatrace.step", "a later name"]
