"""Run a wrapper around a method so that its own faults change neither the result nor the exception.

A wrapper gets the call as an object. If the wrapper fails before it makes the call, the call is made
without it; if it fails afterwards, the call's result or exception counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from somatrace.runtime.fail_safe import from_a_signal
from somatrace.runtime.type_names import type_name

log = logging.getLogger("somatrace")

Wrapper = Callable[..., Any]


class _Outcome:
    """What a call has led to so far."""

    __slots__ = ("error", "made", "result")

    def __init__(self) -> None:
        self.made = False
        self.result: Any = None
        self.error: BaseException | None = None

    def blames(self, error: Exception) -> bool:
        """Whether `error` comes from the program: from the call itself, or from a signal handler."""
        return error is self.error or from_a_signal(error)


def guarded(wrapper: Wrapper, call: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """`wrapper(call, instance, args, kwargs)`, or what `call(*args, **kwargs)` gives if the wrapper fails."""
    outcome = _Outcome()

    def observed(*args: Any, **kwargs: Any) -> Any:
        outcome.made = True
        try:
            outcome.result = call(*args, **kwargs)
        except BaseException as error:
            outcome.error = error
            raise
        return outcome.result

    try:
        return wrapper(observed, instance, args, kwargs)
    except Exception as error:
        if outcome.blames(error):
            raise
        _report(error)
        failure = outcome.error
    finally:
        outcome.error = None  # it would be in a reference cycle with its traceback
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
    if outcome.made:
        return outcome.result
    return call(*args, **kwargs)


async def guarded_async(
    wrapper: Wrapper, call: Callable[..., Any], instance: object, args: Any, kwargs: Any
) -> Any:
    """The same for a wrapper that is a coroutine function around one."""
    outcome = _Outcome()

    async def observed(*args: Any, **kwargs: Any) -> Any:
        outcome.made = True
        try:
            outcome.result = await call(*args, **kwargs)
        except BaseException as error:
            outcome.error = error
            raise
        return outcome.result

    try:
        return await wrapper(observed, instance, args, kwargs)
    except Exception as error:
        if outcome.blames(error):
            raise
        _report(error)
        failure = outcome.error
    finally:
        outcome.error = None
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
    if outcome.made:
        return outcome.result
    return await call(*args, **kwargs)


def _report(error: Exception) -> None:
    log.debug("%s in a wrapper; the call is made without it", type_name(error))
