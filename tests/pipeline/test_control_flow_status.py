"""A control-flow exception makes no span failed, whoever records it and in whichever order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from somatrace import fail, span
from somatrace.testing import capture

ERROR = StatusCode.ERROR


def record(one: Span, error: BaseException) -> None:
    one.record_exception(error)


def describe(one: Span, error: BaseException) -> None:
    one.set_status(Status(ERROR, str(error)))


def describe_with_type(one: Span, error: BaseException) -> None:
    one.set_status(ERROR, f"{type(error).__name__}: {error}")


def only_code(one: Span, error: BaseException) -> None:
    one.set_status(ERROR)


def name_type(one: Span, error: BaseException) -> None:
    one.set_attribute("error.type", type(error).__name__)
    one.set_attribute("gen_ai.task.status", "failure")


@pytest.mark.parametrize(
    "steps",
    [
        (record, describe),
        (record, describe_with_type),
        (record, only_code),
        (name_type, describe, record),
        (name_type, only_code, record),
        (record, name_type, describe_with_type, record),
    ],
)
@pytest.mark.parametrize("error", [StopIteration("done"), asyncio.CancelledError(), StopAsyncIteration()])
def test_an_instrumentors_handling_leaves_an_outcome_and_no_failure(
    steps: tuple[Callable[[Span, BaseException], None], ...], error: BaseException
) -> None:
    with capture() as seen:
        one = trace.get_tracer("library").start_span("call")
        try:
            raise error
        except BaseException as caught:
            for step in steps:
                step(one, caught)
        one.end()

    (ended,) = seen.spans
    attributes = dict(ended.attributes or {})
    assert ended.status.status_code is StatusCode.UNSET
    assert attributes["somatrace.outcome"] in ("exhausted", "cancelled")
    assert not {"error.type", "gen_ai.task.status", "exception.stacktrace"} & set(attributes)
    assert not ended.events


@pytest.mark.parametrize("make", [lambda: span("own"), lambda: _otel("otel")], ids=["span", "opentelemetry"])
def test_a_block_that_control_flow_leaves_is_no_failure(make: Callable[[], Any]) -> None:
    with capture() as seen, pytest.raises(StopAsyncIteration), make():
        raise StopAsyncIteration

    (ended,) = seen.spans
    assert ended.status.status_code is StatusCode.UNSET
    assert (ended.attributes or {})["somatrace.outcome"] == "exhausted"
    assert not ended.events


@pytest.mark.parametrize("make", [lambda: span("own"), lambda: _otel("otel")], ids=["span", "opentelemetry"])
def test_a_block_that_a_failure_leaves_has_failed(make: Callable[[], Any]) -> None:
    with capture() as seen, pytest.raises(LookupError), make():
        raise LookupError

    (ended,) = seen.spans
    assert ended.status.status_code is ERROR
    assert [event.name for event in ended.events] == ["exception"]


def test_a_failure_that_the_program_states_stays() -> None:
    with capture() as seen, pytest.raises(StopIteration), span("own"):
        fail("no_answer", "the model has none")
        raise StopIteration

    (ended,) = seen.spans
    assert ended.status.status_code is ERROR
    assert (ended.attributes or {})["error.type"] == "no_answer"


def test_a_failure_after_handled_control_flow_is_a_failure() -> None:
    with capture() as seen, _otel("retried") as one:
        try:
            raise StopIteration
        except StopIteration as caught:
            one.record_exception(caught)
        one.set_status(ERROR, "no answer at all")

    (ended,) = seen.spans
    assert ended.status.status_code is ERROR


def _otel(name: str) -> Any:
    return trace.get_tracer("library").start_as_current_span(name)
