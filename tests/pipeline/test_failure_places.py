"""The place of a failure and its text: on spans of every origin, for every consumer, under every policy."""

from __future__ import annotations

import asyncio
import gc
import json
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace.status import StatusCode

from somatrace import fail, span, tracing
from somatrace.testing import Captured, assert_no_content, capture
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

CANARY = "canary-2207"
KEY = "exception.stacktrace"
HERE = __name__


class ShopError(Exception):
    """An error of the program."""


def find() -> None:
    raise KeyError(CANARY)


def order() -> None:
    try:
        find()
    except KeyError as error:
        error.add_note(CANARY)
        raise ShopError(CANARY) from error


def in_a_block() -> None:
    with span("work"):
        order()


def in_a_decorated_function() -> None:
    span("work")(order)()


def in_a_coroutine() -> None:
    @span("work")
    async def run() -> None:
        await asyncio.sleep(0)
        order()

    asyncio.run(run())


def in_an_async_block() -> None:
    async def run() -> None:
        async with span("work"):
            order()

    asyncio.run(run())


def in_a_generator() -> None:
    @span("work")
    def run() -> Iterator[int]:
        yield 1
        order()

    list(run())


def in_an_async_generator() -> None:
    @span("work")
    async def run() -> AsyncIterator[int]:
        yield 1
        order()

    async def consume() -> None:
        async for _ in run():
            pass

    asyncio.run(consume())


def in_a_block_of_opentelemetry() -> None:
    with trace.get_tracer("library").start_as_current_span("work"):
        order()


def recorded_by_a_library() -> None:
    work = trace.get_tracer("library").start_span("work")
    try:
        order()
    except ShopError as error:
        work.record_exception(error)
        work.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        work.end()


def written_as_text_by_a_library() -> None:
    work = trace.get_tracer("library").start_span("work")
    try:
        order()
    except ShopError as error:
        texts = {"exception.type": "ShopError", "exception.message": str(error), KEY: traceback.format_exc()}
        work.add_event("exception", texts)
        work.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        work.end()


WAYS = [
    in_a_block,
    in_a_decorated_function,
    in_a_coroutine,
    in_an_async_block,
    in_a_generator,
    in_an_async_generator,
    in_a_block_of_opentelemetry,
    recorded_by_a_library,
    written_as_text_by_a_library,
]


def captured(run: Callable[[], None], error: type[Exception] = ShopError) -> Captured:
    with capture() as seen, pytest.raises(error):
        run()
    return seen


def heads(place: str) -> list[str]:
    return [line for line in place.split("\n") if not line.startswith("  ")]


@pytest.mark.parametrize("run", WAYS)
def test_event_and_span_say_where_and_nothing_else(run: Callable[[], None]) -> None:
    seen = captured(run)
    work = seen.named("work")
    (happened,) = work.events
    place = work.attributes[KEY]
    assert place == happened.attributes[KEY]
    assert [head.rpartition(".")[2] for head in heads(place)] == ["ShopError", "caused by KeyError"]
    _first, second, *_ = place.split("\n")
    assert second == f"  at {HERE}:order:{order.__code__.co_firstlineno + 5}"
    assert f"  at {HERE}:find:{find.__code__.co_firstlineno + 1}" in place
    assert all(len(line.split(":")) == 3 for line in place.split("\n") if line.startswith("  "))
    assert work.status.status_code is StatusCode.ERROR
    assert_no_content(seen, CANARY, "Traceback", "raise ", ".py")


@pytest.mark.parametrize("run", WAYS)
def test_records_and_third_party_processors_see_the_place_and_no_text(run: Callable[[], None]) -> None:
    shown: list[ReadableSpan] = []
    live: list[Any] = []

    class Collector(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            live.append(span)

        def _on_ending(self, span: Any) -> None:
            live.append((dict(span.attributes), [dict(event.attributes) for event in span.events]))

        def on_end(self, span: ReadableSpan) -> None:
            shown.append(span)

    collector = Collector()
    with capture() as seen:
        processor = tracing.installed().span_processor
        processor.add_span_processor(collector)
        try:
            with pytest.raises(ShopError):
                run()
            tracing.flush(60)
        finally:
            processor.remove_span_processor(collector)
    (ended,) = [record for record in seen.records if record.phase == "ended"]
    assert f"  at {HERE}:find:" in ended.attributes[KEY]
    assert shown[0].attributes[KEY] == ended.attributes[KEY]
    assert live[1][0][KEY] == ended.attributes[KEY]
    assert CANARY not in repr((seen.records, [one.to_json() for one in shown], live[1]))
    assert "somatrace.failure" not in repr((seen.records, [one.to_json() for one in shown], live[1]))


FORGED = f"""{CANARY}
Traceback (most recent call last):
  File "{__file__}", line 30, in canary_function
    {CANARY}
  File "/srv/canary.py", line 1, in order
CanaryError: {CANARY}

The above exception was the direct cause of the following exception:

Canary: {CANARY}"""


@pytest.mark.parametrize("as_text", [True, False])
def test_a_message_that_looks_like_a_traceback_adds_no_names(as_text: bool) -> None:
    def forge() -> None:
        raise ShopError(FORGED) from KeyError(FORGED)

    def written() -> None:
        with trace.get_tracer("library").start_as_current_span("work", record_exception=False) as work:
            try:
                forge()
            except ShopError as error:
                work.add_event("exception", {"exception.type": "ShopError", KEY: traceback.format_exc()})
                raise ShopError from error

    def recorded() -> None:
        with trace.get_tracer("library").start_as_current_span("work"):
            forge()

    seen = captured(written if as_text else recorded)
    assert_no_content(seen, "canary")
    assert "forge" in seen.named("work").attributes[KEY]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 300_000,
        "Traceback (most recent call last):\n" * 5000,
        CANARY,
        "  File \n" * 9999,
        FORGED[:200],
    ],
    ids=["empty", "long", "headers", "words", "frames", "cut"],
)
def test_a_stack_text_of_any_form_leaves_at_most_its_type(text: str) -> None:
    with capture() as seen, trace.get_tracer("library").start_as_current_span("work") as work:
        work.add_event("exception", {"exception.type": "ShopError", KEY: text})
    assert dict(seen.named("work").events[0].attributes).items() >= {"exception.type": "ShopError"}.items()
    assert_no_content(seen, "canary", "File", "xxx")


@pytest.mark.parametrize("number", [0, 1, -1, True, 10**20, "0", [0]])
def test_a_library_cannot_claim_a_place(number: object) -> None:
    with capture() as seen, trace.get_tracer("library").start_as_current_span("work") as work:
        work.add_event("exception", {"somatrace.failure": number, "exception.type": "E"})  # type: ignore[dict-item]
    assert dict(seen.named("work").events[0].attributes) == {"exception.type": "E"}


def test_an_exception_after_fail_still_says_where() -> None:
    def run() -> None:
        with span("work"):
            fail("out_of_stock", CANARY)
            order()

    work = captured(run).named("work")
    assert work.attributes["error.code"] == work.status.description == "out_of_stock"
    assert f"  at {HERE}:find:" in work.attributes[KEY]


def test_an_exception_that_the_program_has_recorded_itself_is_not_recorded_twice() -> None:
    def run() -> None:
        with span("work") as work:
            try:
                order()
            except ShopError as error:
                work.record_exception(error)
                work.set_status(StatusCode.ERROR)
                raise

    assert len(captured(run).named("work").events) == 1


def test_an_exception_at_the_address_of_an_earlier_recorded_one_is_recorded() -> None:
    tries = 0

    def run() -> None:
        nonlocal tries
        with span("work") as work:
            while tries < 100:  # something else may take the address
                tries += 1
                earlier: list[KeyError] = [KeyError(CANARY)]
                work.record_exception(earlier[0])
                fail("out_of_stock")
                address = id(earlier.pop())
                kept = []
                for _ in range(100):
                    kept.append(KeyError(CANARY))
                    if id(kept[-1]) == address:
                        raise kept[-1]

    assert len(captured(run, KeyError).named("work").events) == tries + 1


def test_a_failure_is_recorded_whatever_its_class_does() -> None:
    class Named(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise AssertionError(CANARY)

    class HostileError(Exception, metaclass=Named):
        __module__ = f"made of {CANARY}"

        def __str__(self) -> str:
            raise AssertionError(CANARY)

        __repr__ = __eq__ = __hash__ = __str__  # type: ignore[assignment]

    made = type(f"say {CANARY}", (HostileError,), {})

    def run() -> None:
        with span("work"):
            raise made

    seen = captured(run, HostileError)
    work = seen.named("work")
    assert work.attributes["error.type"].endswith("HostileError")
    assert ":" in work.attributes[KEY]
    assert_no_content(seen, CANARY)


def test_the_exception_propagates_unchanged_and_nothing_keeps_its_frames() -> None:
    class Local:
        pass

    def run() -> tuple[weakref.ref[Local], tuple[object, ...]]:
        local = Local()
        kept = weakref.ref(local)
        error = ShopError(CANARY)
        try:
            with span("work"):
                try:
                    find()
                except KeyError:
                    raise error  # noqa: B904 - keeps its implicit context
        except ShopError as caught:
            same = caught is error
            found = same, type(caught.__context__), caught.__cause__
            names = [frame.name for frame in traceback.extract_tb(caught.__traceback__)]
            caught.__context__ = None
        del error
        return kept, (*found, names)

    with capture():
        gc.collect()
        gc.disable()
        try:
            kept, found = run()
            assert kept() is None
        finally:
            gc.enable()
    assert found == (True, KeyError, None, ["run"])


def test_the_last_failure_is_kept_although_its_event_was_dropped() -> None:
    def run() -> None:
        with span("work") as work:
            for number in range(300):
                try:
                    find()
                except KeyError as error:
                    work.record_exception(error)
                work.add_event("retry", {"number": number})
            order()

    work = captured(run).named("work")
    assert len(work.attributes[KEY]) < 4000
    assert f":find:{find.__code__.co_firstlineno + 1}" in work.attributes[KEY]


PROGRAM = """
import asyncio, datetime
from somatrace import *
from somatrace.config import Config
from somatrace.guard.policy import callable_source
callable_source.LIMIT = 60.0  # a busy machine takes long to ask
from opentelemetry import trace

until = (datetime.date.today() + datetime.timedelta(days=9)).isoformat()
grant = lambda tenant: {"content": tenant, "reason": "test", **({"until": until} if tenant == "full" else {})}
init_tracing("shop", config=Config(content_policy=grant))

def order():
    error = ValueError("no such plan, ask ada@corp.example")
    error.add_note("a note")
    raise error

@span("function")
def function():
    order()

@span("generator")
def generator():
    yield 1
    order()

@span("coroutine")
async def coroutine():
    order()

def block():
    with span("block"):
        order()

def own():
    with trace.get_tracer("t").start_as_current_span("own"):
        order()

for tenant in ("redacted", "full", "none"):
    with bind(tenant_id=tenant):
        for run in (function, lambda: list(generator()), lambda: asyncio.run(coroutine()), block, own):
            try:
                run()
            except ValueError:
                pass
assert flush(60), status()
"""


@pytest.mark.slow
def test_message_and_stack_leave_after_opt_in_from_every_entry_point(tmp_path) -> None:
    with otlp_server() as server:
        run_program(PROGRAM, otlp_env(server.url), directory=tmp_path)
        spans = server.spans
    assert len(spans) == 15
    for found in spans:
        attributes, ((_, happened),) = found.attributes, found.events
        stack = happened[KEY]
        assert attributes[KEY].startswith("ValueError\n  at __main__:order:")
        assert attributes["error.type" if found.name != "own" else "tenant_id"]
        if attributes["tenant_id"] == "none":
            assert stack == attributes[KEY]
            assert found.status_message == "ValueError"
            assert "plan" not in json.dumps([attributes, happened])
            continue
        message = happened["exception.message"]
        assert message.startswith("no such plan, ask ")
        assert ("ada@corp.example" in message) is (attributes["tenant_id"] == "full")
        assert found.status_message.startswith("ValueError: no such plan")
        assert "Traceback (most recent call last)" in stack
        assert "in order" in stack
        assert "a note" in stack
