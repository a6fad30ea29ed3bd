"""Isolate an instrumentor's wrapper from one call of the method it instruments.

An instrumentor's wrapper gets copies of the arguments and stand-ins of streamed answers. The program's call
gets the program's own arguments, and the program its own answer or exception, whatever the wrapper does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, NoReturn

from opentelemetry import trace

from somatrace import semconv
from somatrace.context.control_flow import outcome_of
from somatrace.instrumentation.llm.isolation.feed import Feed, Observer
from somatrace.instrumentation.llm.isolation.first_token import arrived
from somatrace.instrumentation.llm.isolation.noted_spans import noted_by
from somatrace.instrumentation.llm.isolation.observed import observe
from somatrace.instrumentation.llm.isolation.passive import given, passive
from somatrace.instrumentation.llm.isolation.stand_ins import StandIn
from somatrace.runtime.fail_safe import from_a_signal
from somatrace.runtime.log_once import LogOnce
from somatrace.runtime.type_names import type_name

Wrapper = Callable[[Any, Any, Any, Any], Any]

_warnings: Final = LogOnce(limit=100)
#: The outcome of a wrapper that has failed.
NOTHING: Final = object()


def around_call(wrapper: Wrapper, packages: tuple[str, ...], name: str) -> Wrapper:
    """`wrapper`, which instruments the method `name`, isolated from the call.

    `packages` are the client's own, whose data types the wrapper may read.
    """

    @functools.wraps(wrapper)
    def called(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return guarded(
            lambda call, *given: wrapper(call, instance, *given), _Call(wrapped, args, kwargs, name), packages
        )

    return called


def around_method(factory: Callable[..., Any], packages: tuple[str, ...], name: str) -> Callable[..., Any]:
    """`factory(method, *given)`, which returns the instrumented method, with that isolated from its calls."""

    @functools.wraps(factory)
    def instrumented(method: Any, *given: Any) -> Any:
        def wrapper(call: Any, args: Any, kwargs: Any) -> Any:
            return factory(call, *given)(*args, **kwargs)

        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            return guarded(wrapper, _Call(method, args, kwargs, name), packages)

        @functools.wraps(method)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            answer = guarded(wrapper, _Call(method, args, kwargs, name), packages)
            return await answer if inspect.isawaitable(answer) else answer

        return awaited if inspect.iscoroutinefunction(method) else called

    return instrumented


def guarded(wrapper: Callable[..., Any], call: _Call, packages: tuple[str, ...]) -> Any:
    """The answer of the program's call, made through `wrapper(call, args, kwargs)`."""
    outcome = NOTHING
    try:
        with call.noting():
            outcome = wrapper(
                call, tuple(passive(value, packages) for value in call.args), given(call.kwargs, packages)
            )
    except Exception as error:
        call.raised(error)
    except BaseException as error:
        call.close(error)
        raise
    if inspect.iscoroutine(outcome) or (outcome is NOTHING and call.pending is not None):
        call.asynchronous = True
        return _awaited(call, outcome)
    if call.failure is None and not call.made:
        call()
    return call.settled(outcome)


async def _awaited(call: _Call, outcome: Any) -> Any:
    if outcome is not NOTHING:
        coroutine, outcome = outcome, NOTHING
        try:
            with call.noting():
                outcome = await coroutine
        except Exception as error:
            call.raised(error)
        except BaseException as error:
            call.close(error)
            raise
    if call.failure is None:
        if not call.made:
            call()
        if call.pending is not None:
            await call.completed()
    return call.settled(outcome)


class _Call:
    """The program's own call: the instrumentor calls it, at most once has it an effect."""

    def __init__(self, wrapped: Any, args: Any, kwargs: Any, name: str) -> None:
        self._wrapped = wrapped
        self.args = args
        self.kwargs = kwargs
        self._name = name
        self._spans: list[trace.Span] = []
        self._result: Any = None
        self._given: Any = None
        self._stand_in: StandIn | None = None
        self._deferred = False
        self.asynchronous = False
        self.made = False
        #: The program's awaitable, until it is awaited.
        self.pending: Any = None
        self.failure: BaseException | None = None
        self._trace: TracebackType | None = None
        self._context: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        """The names and attributes of the program's function."""
        return getattr(self._wrapped, name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Make the program's call with the program's arguments, whatever the instrumentor passes on."""
        if self.failure is not None:
            raise self.failure
        if self.made:
            return self._given
        self.made = True
        try:
            with noted_by(None):
                result = self._wrapped(*self.args, **self.kwargs)
        except BaseException as error:
            self._failed(error)
            raise
        if inspect.iscoroutine(result) or (self.asynchronous and inspect.isawaitable(result)):
            self.pending = result
            return self.completed()
        return self._answered(result)

    async def completed(self) -> Any:
        """Await the program's awaitable."""
        pending, self.pending = self.pending, None
        try:
            with noted_by(None):
                result = await pending
        except BaseException as error:
            self._failed(error)
            raise
        return self._answered(result)

    def _answered(self, result: Any) -> Any:
        self._result = self._given = result
        try:
            self._stand_in = StandIn(result)
            self._given = self._stand_in.given
        except Exception as error:
            self.fault(error)
        return self._given

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        trace_ = error.__traceback__
        self._trace = trace_.tb_next if trace_ is not None else None
        self._context = error.__context__

    def started(self, span: trace.Span) -> None:
        self._spans.append(span)

    def stream_of(self, feed: Feed) -> Any:
        """The program's stream, of which the instrumentor has got `feed`."""
        streams = self._stand_in.streams.values() if self._stand_in is not None else ()
        return next((stream for stream, given in streams if given is feed), None)

    def answering(self) -> None:
        """Note on the spans that the first token of the answer has just arrived."""
        arrived(self._spans)

    def defer(self) -> None:
        """Keep the spans open until `close` is called, though the call is done."""
        self._deferred = True

    def noting(self) -> AbstractContextManager[None]:
        return noted_by(self)

    def raised(self, error: Exception) -> None:
        """The instrumentor's wrapper has raised `error`."""
        if error is self.failure:
            return  # raised again by `settled`
        if from_a_signal(error):
            self.close()
            raise error
        self.fault(error)

    def fault(self, error: Exception) -> None:
        """Log an instrumentor's failure, once of a kind and without its text, which may quote the call."""
        kind = type_name(error)
        _warnings.warning(
            (self._name, kind), "%s: %s in its instrumentation; the call is not affected", self._name, kind
        )

    def settled(self, outcome: Any) -> Any:
        """The program's answer, or its exception raised as the client raised it."""
        if self.failure is not None:
            self.close(self.failure)
            self._raise()
        result, stand_in = self._result, self._stand_in
        # the observers keep the call: it must not keep the stream, whose end as garbage ends the spans
        self._result = self._given = self._stand_in = None
        observed = self._deferred
        if stand_in is not None and outcome is not NOTHING:
            for stream, feed, around in stand_in.instrumented(outcome):
                observed = True
                replaced = observe(stream, Observer(self, around, feed))
                if stream is result:  # a generator, which is replaced by another
                    result = replaced
        if not observed:
            self.close()
        return result

    def _raise(self) -> NoReturn:
        """Raise the client's exception as it was, whatever an instrumentor has made of it."""
        failure, context = self.failure, self._context
        assert failure is not None
        self.failure = self._context = None  # no cycle through the traceback
        try:
            raise failure.with_traceback(self._trace)
        finally:
            failure.__context__ = context
            del failure, context
            self._trace = None

    def close(self, error: BaseException | None = None) -> None:
        """End the spans that are still open, with what they have."""
        for span in self._spans:
            if span.is_recording():
                outcome = outcome_of(error)
                if outcome:
                    span.set_attribute(semconv.OUTCOME, outcome)
                elif error is not None:
                    span.set_status(trace.Status(trace.StatusCode.ERROR, type_name(error)))
                    span.set_attribute(semconv.ERROR_TYPE, type_name(error))
                span.end()
        self._spans.clear()
