"""A generator of a framework gives the same with an instrumentor around it, whatever that does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from somatrace.instrumentation.llm.isolation.framework_runs import around_run
from somatrace.instrumentation.llm.isolation.passive import passive

#: Where the instrumentor's generator fails: before the run, at its first or second item, at its end, never.
PLACES = ("before", "first", "second", "end", "never")
STEPS = ("next", "send", "throw", "close")


def source(log: list[str]) -> Iterator[Any]:
    """Notes what it gets, and ends with a value."""
    try:
        for number in range(3):
            try:
                log.append(f"got {yield number}")
            except KeyError:
                log.append("caught")
    finally:
        log.append("over")
    return "value"


async def async_source(log: list[str]) -> AsyncIterator[Any]:
    try:
        for number in range(3):
            try:
                log.append(f"got {yield number}")
            except KeyError:
                log.append("caught")
    finally:
        await asyncio.sleep(0)
        log.append("over")


def failing(place: str) -> tuple[Any, Any]:
    """Instrumentors in the form of langgraph's."""

    def check(at: str) -> None:
        if at == place:
            raise RuntimeError

    def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        check("before")
        for at, item in enumerate(wrapped(*args, **kwargs)):
            check(("first", "second", "third")[at])
            yield item
        check("end")

    async def async_wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        check("before")
        at = 0
        async for item in wrapped(*args, **kwargs):
            check(("first", "second", "third")[at])
            at += 1
            yield item
        check("end")

    return wrapper, async_wrapper


def isolated(wrapper: Any, make: Callable[..., Any], log: list[str]) -> Any:
    return around_run(wrapper, lambda args, kwargs: ((), {}), "stream", lambda answer: answer)(
        make, None, (log,), {}
    )


def driven(generator: Any, steps: list[str], log: list[str]) -> list[Any]:
    seen: list[Any] = []
    for step in steps:
        try:
            if step == "next":
                seen.append(next(generator))
            elif step == "send":
                seen.append(generator.send("x" if seen else None))
            elif step == "throw":
                seen.append(generator.throw(KeyError("the program's")))
            else:
                generator.close()
        except StopIteration as stop:
            seen.append(("stop", stop.value))
        except Exception as error:
            seen.append(repr(error))
        seen.append(list(log))
    return seen


async def driven_async(generator: Any, steps: list[str], log: list[str]) -> list[Any]:
    seen: list[Any] = []
    for step in steps:
        try:
            if step == "next":
                seen.append(await anext(generator))
            elif step == "send":
                seen.append(await generator.asend("x" if seen else None))
            elif step == "throw":
                seen.append(await generator.athrow(KeyError("the program's")))
            else:
                await generator.aclose()
        except StopAsyncIteration:
            seen.append("stop")
        except Exception as error:
            seen.append(repr(error))
        seen.append(list(log))
    return seen


_steps = st.lists(st.sampled_from(STEPS), max_size=6).map(lambda steps: ["next", *steps])


@given(place=st.sampled_from(PLACES), steps=_steps)
def test_a_generator_gives_the_same(place: str, steps: list[str]) -> None:
    plain, wrapped = [], []

    assert driven(isolated(failing(place)[0], source, wrapped), steps, wrapped) == driven(
        source(plain), steps, plain
    )


@given(place=st.sampled_from(PLACES), steps=_steps)
def test_an_asynchronous_generator_gives_the_same(place: str, steps: list[str]) -> None:
    plain, wrapped = [], []

    async def both() -> tuple[Any, Any]:
        around = isolated(failing(place)[1], async_source, wrapped)
        return await driven_async(around, steps, wrapped), await driven_async(
            async_source(plain), steps, plain
        )

    with_it, without = asyncio.run(both())
    assert with_it == without


def test_a_loop_that_shuts_down_closes_abandoned_generators_without_complaint() -> None:
    log: list[str] = []
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        kept.append(isolated(failing("never")[1], async_source, log))
        await anext(kept[0])

    kept: list[Any] = []
    asyncio.run(main())

    assert log == ["over"]
    assert complaints == []


def test_a_container_that_holds_itself_is_read_to_an_end() -> None:
    endless: list[Any] = []
    endless += [endless, endless]

    assert len(passive(endless, ())) == 2
