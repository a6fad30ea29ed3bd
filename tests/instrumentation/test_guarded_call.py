"""A fault of a wrapper changes neither the result of the wrapped call nor its exception."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import threading
import time
import weakref

import pytest

from somatrace.instrumentation.import_hooks import wrap_method


class Answer:
    """A result to which weak references are possible."""


class ProgramError(Exception):
    """An exception of the program."""


def ask_of(wrapper):
    """A call of a method in `wrapper`, sync or async like the wrapper, and the list of its calls."""
    calls: list[tuple[object, ...]] = []

    class Service:
        def ask(self, *args: object) -> object:
            calls.append(args)
            if args == ("fail",):
                raise ProgramError
            return len(calls)

    class AsyncService:
        async def ask(self, *args: object) -> object:
            await asyncio.sleep(0)
            return Service.ask(self, *args)

    owner = AsyncService if inspect.iscoroutinefunction(wrapper) else Service
    wrap_method(owner, "ask", wrapper)
    service = owner()
    if owner is AsyncService:
        return (lambda *args: asyncio.run(service.ask(*args))), calls
    return service.ask, calls


def fails_before(call, instance, args, kwargs):
    raise ValueError("fault of the wrapper")


async def fails_before_async(call, instance, args, kwargs):
    raise ValueError("fault of the wrapper")


def fails_after(call, instance, args, kwargs):
    call(*args, **kwargs)
    raise ValueError("fault of the wrapper")


async def fails_after_async(call, instance, args, kwargs):
    await call(*args, **kwargs)
    raise ValueError("fault of the wrapper")


def fails_on_failure(call, instance, args, kwargs):
    try:
        return call(*args, **kwargs)
    except ProgramError:
        raise ValueError("fault of the wrapper") from None


async def fails_on_failure_async(call, instance, args, kwargs):
    try:
        return await call(*args, **kwargs)
    except ProgramError:
        raise ValueError("fault of the wrapper") from None


WRAPPERS = (
    fails_before,
    fails_before_async,
    fails_after,
    fails_after_async,
    fails_on_failure,
    fails_on_failure_async,
)
each_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda wrapper: wrapper.__name__)


@each_wrapper
def test_a_failing_wrapper_leaves_the_result_and_calls_once(wrapper) -> None:
    ask, calls = ask_of(wrapper)
    assert ask("why") == 1
    assert calls == [("why",)]


@each_wrapper
def test_a_failing_wrapper_leaves_the_programs_exception(wrapper) -> None:
    ask, calls = ask_of(wrapper)
    with pytest.raises(ProgramError) as raised:
        ask("fail")
    assert calls == [("fail",)]
    assert not isinstance(raised.value.__context__, ValueError)


def test_an_exception_of_the_call_is_in_no_reference_cycle_with_the_wrapper() -> None:
    ask, _ = ask_of(lambda call, instance, args, kwargs: call(*args, **kwargs))
    gc.collect()
    gc.disable()
    try:
        try:
            ask("fail")
        except ProgramError as error:
            gone = weakref.ref(error)
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals")
def test_an_exception_of_a_signal_handler_inside_a_wrapper_reaches_the_program() -> None:
    def interrupt(*_: object) -> None:
        raise ProgramError

    def interrupted(call, instance, args, kwargs):
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(0)
        return call(*args, **kwargs)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        ask, calls = ask_of(interrupted)
        with pytest.raises(ProgramError):
            ask("why")
        assert calls == []
    finally:
        signal.signal(signal.SIGUSR1, before)
