"""Run an instrumentor's wrapper again when the program has read an answer that the call returned unread.

Clients return such answers for `with_streaming_response`. A wrapper that has made the call is left there,
with its spans open. Later it runs once more, in the context of the call: its spans are those that are open,
and its call returns the answer.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Generator
from typing import Any

from somatrace.instrumentation.llm.isolation.feed import Feed, Observer, stepped


class LeftError(BaseException):
    """Leaves a wrapper that has made the call, and has nothing to record.

    Instrumentors record and catch what is an `Exception`.
    """


class PostponedError(LeftError):
    """Leaves a wrapper that is to record the answer later."""


class Postponed:
    """The wrapper of one call, `wrapper(call, args, kwargs)`, and the context it runs in."""

    def __init__(self, call: Any, wrapper: Callable[..., Any], arguments: Callable[..., Any]) -> None:
        self._call = call
        self._wrapper = wrapper
        self._arguments = arguments
        self._context = contextvars.copy_context()

    @property
    def has_spans(self) -> bool:
        """Whether the call has a span. Some wrappers start it when they have the answer."""
        return bool(self._call.has_spans)

    def resume(self, answer: Any, error: BaseException | None = None) -> None:
        """Let the wrapper record `answer`. A feed is a stream that has ended, or failed with `error`."""
        self._context.run(self._resume, answer, error)

    def _resume(self, answer: Any, error: BaseException | None) -> None:
        call = self._call
        try:
            with call.resuming():
                outcome = self._wrapper(_Answered(call, answer), *self._arguments(call.args, call.kwargs))
                if inspect.iscoroutine(outcome):
                    outcome = stepped(outcome)
        except LeftError:
            return
        except Exception as fault:
            call.fault(fault)
            return
        if type(answer) is Feed and outcome is not answer:
            Observer(call, outcome, answer).ended(error)


class _Answered:
    """The program's call, which has been made."""

    def __init__(self, call: Any, answer: Any) -> None:
        self._call = call
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        return _Ready(self._answer) if self._call.asynchronous else self._answer


class _Ready:
    """An awaitable of an answer."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self._answer
