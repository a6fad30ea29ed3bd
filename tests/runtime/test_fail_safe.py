"""No value passed to the API raises into the program or prints to standard error."""

from __future__ import annotations

import enum
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from somatrace import bind, content, event, fail, span, tracing, usage
from somatrace.runtime.fail_safe import fail_safe
from somatrace.testing import capture
from tests.support.logs import own_records


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Treacherous(str):
    """A string whose methods raise."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = encode = isprintable = __str__


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else "deep"


endless: list[object] = []
endless.append(endless)
VALUES = {
    "unprintable": Unprintable(),
    "treacherous": Treacherous("abc"),
    "endless": endless,
    "deep": nested(900),
    "a mapping": {"a": {"b": [1, None]}},
    "a set": {1, 2},
    "bytes": b"\xff" * 100,
    "a lone surrogate": "\ud800",
    "zero byte": "a\0b",
    "far too large a number": 2**200,
    "no number": float("nan"),
    "a megabyte": "x" * 2**20,
    "nothing": None,
    "a generator": (number for number in range(3)),
    "an exception": ValueError("boom"),
    "a class": int,
}
CALLS = {
    "span, its name": span,
    "span, its kind": lambda value: span("s", kind=value),
    "span, an attribute": lambda value: span("s", payload=value),
    "span, a tag": lambda value: span("s", tenant_id=value),
    "bind": lambda value: bind(tenant_id=value, anything=value),
    "event, its name": event,
    "event, a field": lambda value: event("e", field=value),
    "content": lambda value: content(input=value, output=value),
    "usage": lambda value: usage(
        model=value,
        input_tokens=value,
        output_tokens=value,
        cache_read_tokens=value,
        cost=value,
        currency=value,
    ),
    "fail": lambda value: fail(value, value, retryable=value),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_value_raises_into_the_program_or_loses_the_span(call, value, caplog) -> None:
    with capture() as seen, span("around"):
        block = call(value)
        if block is not None:
            with block:
                pass
    caplog.clear()
    assert seen.bytes
    assert seen.named("around").end_time
    assert [record for record in own_records(caplog) if record.levelno >= logging.ERROR] == []


def test_invalid_unicode_and_oversized_integers_affect_only_themselves(caplog) -> None:
    tracer = trace.get_tracer("no unicode")
    with capture() as seen, tracer.start_as_current_span("name \ud800") as current:
        current.set_attribute("http.response.status_code", 200)
        current.set_attribute("gen_ai.usage.input_tokens", 2**70)
        event("happened \udfff", field="a\udc00b")
    (found,) = seen.spans
    assert found.name.encode()
    assert found.attributes["http.response.status_code"] == 200
    assert "gen_ai.usage.input_tokens" not in found.attributes
    assert found.events[0].attributes["field"] == "a?b"
    assert seen.bytes
    assert [record.name for record in own_records(caplog) if record.levelno >= logging.ERROR] == []


def test_invalid_token_counts_are_skipped_and_valid_ones_recorded() -> None:
    with capture() as seen, span("call", kind="llm"):
        usage(
            model="m", input_tokens=Decimal(7), output_tokens="many", reasoning_tokens=-1, cost=float("nan")
        )
    attributes = seen.named("call").attributes
    assert attributes["gen_ai.usage.input_tokens"] == 7
    assert not {"gen_ai.usage.output_tokens", "gen_ai.usage.cost.amount"} & set(attributes)
    assert "gen_ai.usage.reasoning.output_tokens" not in attributes


def test_a_str_enum_tag_is_recorded_as_its_value() -> None:
    class Tenant(str, enum.Enum):  # noqa: UP042 - common in programs
        ACME = "acme"

    with capture() as seen, bind(tenant_id=Tenant.ACME), span("work"):
        pass
    assert seen.named("work").attributes["tenant_id"] == "acme"


def test_decorators_work_on_staticmethod_and_classmethod_objects() -> None:
    class Service:
        @span("above")
        @staticmethod
        def above(number: int) -> int:
            return number

        @bind(tenant_id="acme")
        @classmethod
        def made(cls, number: int) -> tuple[type, int]:
            return cls, number

    assert (Service.above(1), Service().above(2)) == (1, 2)
    assert (Service.made(3), Service().made(4)) == ((Service, 3), (Service, 4))


class TimeIsUp(Exception):  # noqa: N818 - named like Celery's SoftTimeLimitExceeded
    pass


@contextmanager
def alarm() -> Iterator[None]:
    def handler(number: int, frame: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def ring() -> None:
    os.kill(os.getpid(), signal.SIGALRM)


def test_an_exception_from_a_signal_handler_during_an_api_call_reaches_the_program() -> None:
    class Ringing:
        def __str__(self) -> str:
            ring()
            return "rung"

    with alarm(), capture(), span("work"), pytest.raises(TimeIsUp):
        fail("timed_out", Ringing())


def test_the_log_line_of_a_fault_has_no_name_made_of_content(caplog: pytest.LogCaptureFixture) -> None:
    with fail_safe("naming"):
        raise type("say canary-1180", (LookupError,), {})
    assert "canary" not in caplog.text
    assert "naming: LookupError in tracing" in caplog.text


def test_an_exception_from_a_signal_handler_inside_a_processor_reaches_the_program() -> None:
    class Ringing(SpanProcessor):
        def on_start(self, span: object, parent_context: object = None) -> None:
            ring()

    with alarm(), capture():
        span_processor = tracing.installed().span_processor
        processor = Ringing()
        span_processor.add_span_processor(processor)
        try:
            with pytest.raises(TimeIsUp):
                trace.get_tracer("any").start_span("work")
        finally:
            span_processor.remove_span_processor(processor)
