"""The tracer and the spans that the provider hands out raise for no value, and end with what they have."""

from __future__ import annotations

import collections
import enum
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from somatrace.testing import capture


class FaultError(Exception):
    """Raised by values."""


def _fails(*_: object, **__: object) -> NoReturn:
    raise FaultError


class NoTextError(Exception):
    __str__ = __repr__ = _fails


class NoNotesError(NoTextError):
    __notes__ = property(_fails)


class Everything:
    """Fails at whatever is done with it."""

    __str__ = __repr__ = __bool__ = __len__ = __iter__ = __hash__ = __eq__ = __getitem__ = __int__ = _fails  # type: ignore[assignment]
    __class__ = property(_fails)  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise FaultError(name)


class BadMapping(dict[str, Any]):
    items = keys = __iter__ = __getitem__ = __len__ = _fails  # type: ignore[assignment]


class BadMappingOfItsOwn(collections.UserDict[str, Any]):
    items = keys = __iter__ = __getitem__ = __len__ = _fails  # type: ignore[assignment]


class BadList(list[Any]):
    __iter__ = __getitem__ = __len__ = _fails  # type: ignore[assignment]


class Endless(collections.UserList[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1

    def __len__(self) -> int:
        return 10**12


class BadText(str):
    __slots__ = ()
    __str__ = __hash__ = __eq__ = __len__ = __bool__ = encode = _fails  # type: ignore[assignment]


class Color(enum.Enum):
    RED = 1


class Reenters:
    """Uses the span while the span records it."""

    def __str__(self) -> str:
        trace.get_current_span().set_attribute("inner", 1)
        return "text"


def _nested() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


MAKERS: tuple[Callable[[], Any], ...] = (
    Everything, NoTextError, NoNotesError, BadMapping, lambda: BadMapping(a=1), BadMappingOfItsOwn,
    BadList, lambda: BadList([1]), Endless, lambda: BadText("text"), lambda: Color.RED, Reenters, _nested,
    object, lambda: Everything, lambda: None, lambda: "", lambda: "text", lambda: 1, lambda: 2**80,
    lambda: 1.5, lambda: float("nan"), lambda: b"\xff", lambda: "\ud800", lambda: iter("abc"),
    lambda: [object()],
    lambda: {"a": Everything()}, lambda: {1: 2, None: 3}, lambda: [Everything(), 1], lambda: [{"a": [2]}],
    lambda: trace.INVALID_SPAN_CONTEXT, lambda: Link(SpanContext(1, 2, is_remote=False), BadMapping()),
    lambda: [Link(SpanContext(1, 2, is_remote=False), {"a": Everything()})], lambda: [Everything()],
    lambda: Status(StatusCode.ERROR, "x"), lambda: StatusCode.ERROR, lambda: lambda: 1,
)  # fmt: skip
#: Drawn by number: hypothesis would look at the values.
NUMBERS = st.integers(0, len(MAKERS) - 1)


@given(st.data())
def test_no_method_of_a_span_or_tracer_raises_for_any_value(data: st.DataObject) -> None:
    def any_value() -> Any:
        return MAKERS[data.draw(NUMBERS)]()

    with capture() as captured:
        tracer = trace.get_tracer("shop")
        with trace.use_span(tracer.start_span("work"), end_on_exit=True) as span:
            calls: tuple[Callable[[], object], ...] = (
                lambda: span.set_attribute(any_value(), any_value()),
                lambda: span.set_attribute("key", any_value()),
                lambda: span.set_attributes(any_value()),
                lambda: span.set_attributes({"key": any_value()}),
                lambda: span.add_event(any_value(), any_value(), any_value()),
                lambda: span.add_event("event", {"key": any_value()}),
                lambda: span.add_link(any_value(), any_value()),
                lambda: span.add_link(SpanContext(1, 2, is_remote=False), {"key": any_value()}),
                lambda: span.update_name(any_value()),
                lambda: span.set_status(any_value(), any_value()),
                lambda: span.set_status(StatusCode.ERROR, any_value()),
                lambda: span.record_exception(any_value(), any_value(), any_value(), any_value()),
                lambda: tracer.start_span(
                    any_value(), any_value(), any_value(), any_value(), any_value(), any_value()
                ).end(any_value()),
                lambda: tracer.start_span(
                    "started", attributes={"key": any_value()}, links=any_value()
                ).end(),
            )
            for call in data.draw(st.lists(st.sampled_from(calls), max_size=6)):
                call()
            span.update_name("work")

    assert [each for each in captured.spans if each.name == "work"]


def _as_current() -> Any:
    return trace.get_tracer("shop").start_as_current_span("work")


def _as_block() -> Any:
    return trace.get_tracer("shop").start_span("work")


def _used() -> Any:
    return trace.use_span(trace.get_tracer("shop").start_span("work"), end_on_exit=True)


@pytest.mark.parametrize("block", [_as_current, _as_block, _used])
@pytest.mark.parametrize("kind", [NoTextError, NoNotesError])
def test_an_exception_without_a_text_leaves_the_block_as_itself(
    block: Callable[[], Any], kind: type[Exception]
) -> None:
    error = kind()

    with capture() as captured:
        try:
            with block():
                raise error
        except Exception as left:
            caught: BaseException = left

    assert caught is error
    assert error.__context__ is None
    span = captured.named("work")
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].attributes is not None
    assert str(span.events[0].attributes["exception.type"]).endswith(kind.__name__)


def test_an_exception_with_a_text_is_recorded_as_the_sdk_does() -> None:
    with capture() as captured:
        try:
            with trace.get_tracer("shop").start_as_current_span("work"):
                raise ValueError("no such plan")
        except ValueError as error:
            frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    assert frames[0] == "test_an_exception_with_a_text_is_recorded_as_the_sdk_does"
    assert captured.named("work").status.status_code is StatusCode.ERROR


def test_plain_values_lists_and_maps_are_recorded_as_before() -> None:
    values = {"text": "a", "number": 1, "ratio": 0.5, "flag": True, "list": ["a", "b"]}
    with capture() as captured, trace.get_tracer("shop").start_as_current_span("work", attributes=values):
        pass

    recorded = captured.named("work").attributes or {}
    assert {key: recorded.get(key) for key in ("number", "ratio", "flag")} == {
        "number": 1, "ratio": 0.5, "flag": True,
    }  # fmt: skip
