"""Isolate an instrumentor's wrapper from one call of the method it instruments.

An instrumentor's wrapper gets copies of the arguments and stand-ins of streamed answers. The program's call
gets the program's own arguments, and the program its own answer or exception, whatever the wrapper does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NoReturn

from opentelemetry import context as otel_context
from opentelemetry.semconv_ai import SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY

from somatrace.instrumentation.llm.isolation.answer_failures import failure_in
from somatrace.instrumentation.llm.isolation.feed import Feed, Observer
from somatrace.instrumentation.llm.isolation.first_token import arrived
from somatrace.instrumentation.llm.isolation.noted_spans import CallSpans, noted_by
from somatrace.instrumentation.llm.isolation.observed import observe
from somatrace.instrumentation.llm.isolation.postponed import LeftError, Postponed, PostponedError
from somatrace.instrumentation.llm.isolation.raw_answers import is_raw_response
from somatrace.instrumentation.llm.isolation.raw_reads import follow_body, follow_events
from somatrace.instrumentation.llm.isolation.stand_ins import StandIn
from somatrace.runtime.fail_safe import from_a_signal

Wrapper = Callable[[Any, Any, Any, Any], Any]
#: What a wrapper gets to read in place of the positional and the keyword arguments of a call.
Arguments = Callable[[Any, Any], tuple[tuple[Any, ...], dict[str, Any]]]

#: The outcome of a wrapper that has failed.
NOTHING: Final = object()


def around_call(
    wrapper: Wrapper, arguments: Arguments, name: str, read: Callable[[Any], Any] | None = None
) -> Wrapper:
    """`wrapper`, which instruments the method `name`, isolated from the call.

    With `read` it gets `read(answer)` in place of an answer that is no stream.
    """

    @functools.wraps(wrapper)
    def called(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        call = GuardedCall(wrapped, args, kwargs, name, read)
        return guarded(lambda call, *given: wrapper(call, instance, *given), call, arguments)

    return called


def around_method(factory: Callable[..., Any], arguments: Arguments, name: str) -> Callable[..., Any]:
    """`factory(method, *given)`, which returns the instrumented method, with that isolated from its calls."""

    @functools.wraps(factory)
    def instrumented(method: Any, *given: Any) -> Any:
        def wrapper(call: Any, args: Any, kwargs: Any) -> Any:
            return factory(call, *given)(*args, **kwargs)

        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            return guarded(wrapper, GuardedCall(method, args, kwargs, name), arguments)

        @functools.wraps(method)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            answer = guarded(wrapper, GuardedCall(method, args, kwargs, name), arguments)
            return await answer if inspect.isawaitable(answer) else answer

        return awaited if inspect.iscoroutinefunction(method) else called

    return instrumented


def guarded(wrapper: Callable[..., Any], call: GuardedCall, arguments: Arguments) -> Any:
    """The answer of the program's call, made through `wrapper(call, args, kwargs)`."""
    outcome = NOTHING
    try:
        with call.noting():
            outcome = wrapper(call, *arguments(call.args, call.kwargs))
    except LeftError as left:
        call.left(left, wrapper, arguments)
    except Exception as error:
        call.raised(error)
    except BaseException as error:
        call.close(error)
        raise
    if not inspect.iscoroutine(outcome):
        call.make()
        if call.pending is None:
            return call.settled(outcome)
        outcome = NOTHING  # the program awaits the call itself
    call.asynchronous = True
    return _awaited(call, outcome, wrapper, arguments)


async def _awaited(call: GuardedCall, outcome: Any, wrapper: Callable[..., Any], arguments: Arguments) -> Any:
    if outcome is not NOTHING:
        coroutine, outcome = outcome, NOTHING
        try:
            with call.noting():
                outcome = await coroutine
        except LeftError as left:
            call.left(left, wrapper, arguments)
        except Exception as error:
            call.raised(error)
        except BaseException as error:
            call.close(error)
            raise
    call.make()
    if call.pending is not None:
        with suppress(BaseException):  # raised again by `settled`
            await call.completed()
    return call.settled(outcome)


class GuardedCall(CallSpans):
    """The program's own call: the instrumentor calls it, at most once has it an effect."""

    def __init__(
        self,
        wrapped: Any,
        args: Any,
        kwargs: Any,
        name: str,
        read: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(name)
        self._read = read
        self._wrapped = wrapped
        self.args = args
        self.kwargs = kwargs
        self._result: Any = None
        self._given: Any = None
        self._stand_in: StandIn | None = None
        self._deferred = False
        self._postponed: Postponed | None = None
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
        self.make()
        if self.failure is not None:
            raise self.failure
        return self._to_read() if self.pending is None else self.completed()

    def make(self) -> None:
        """Make the call, unless it is made."""
        if self.made:
            return
        self.made = True
        try:
            with noted_by(None):
                result = self._wrapped(*self.args, **self.kwargs)
        except BaseException as error:
            self._failed(error)
        else:
            if inspect.iscoroutine(result) or (self.asynchronous and inspect.isawaitable(result)):
                self.pending = result
            else:
                self._answered(result)

    async def completed(self) -> Any:
        """Await the program's awaitable."""
        pending, self.pending = self.pending, None
        try:
            with noted_by(None):
                result = await pending
        except BaseException as error:
            self._failed(error)
            raise
        self._answered(result)
        return self._to_read()

    def _to_read(self) -> Any:
        """The answer for the instrumentor."""
        if self._stand_in is not None and self._stand_in.is_unread:
            raise PostponedError
        return self._given

    def left(self, error: LeftError, wrapper: Callable[..., Any], arguments: Arguments) -> None:
        """The wrapper has left the call. Keep one that is postponed until the program has read the answer."""
        if not isinstance(error, PostponedError):
            return
        if self.has_spans or not otel_context.get_value(SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY):
            self._postponed = Postponed(self, wrapper, arguments)

    def _answered(self, result: Any) -> None:
        self._result = self._given = result
        try:
            self._stand_in = StandIn(result)
            self._given = self._stand_in.given
            if self._read is not None and not self._stand_in.streams:
                self._given = self._read(self._given)
            failure = "" if self._stand_in.streams else failure_in(self._given)
            if failure:
                self.answer_failed(failure)
        except Exception as error:
            self.fault(error)

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        trace_ = error.__traceback__
        self._trace = trace_.tb_next if trace_ is not None else None
        self._context = error.__context__

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

    def raised(self, error: Exception) -> None:
        """The instrumentor's wrapper has raised `error`."""
        if error is self.failure:
            return  # raised again by `settled`
        if from_a_signal(error):
            self.close()
            raise error
        self.fault(error)

    def settled(self, outcome: Any) -> Any:
        """The program's answer, or its exception raised as the client raised it."""
        if self.failure is not None:
            self.close(self.failure)
            self._raise()
        result, stand_in = self._result, self._stand_in
        # the observers keep the call: it must not keep the stream, whose end as garbage ends the spans
        self._result = self._given = self._stand_in = None
        postponed, self._postponed = self._postponed, None
        observed = self._deferred
        if stand_in is not None and outcome is not NOTHING:
            for stream, feed, around in stand_in.instrumented(outcome):
                observed = True
                observer = Observer(self, around, feed)
                if is_raw_response(stream):
                    follow_events(stream, observer)
                    continue
                replaced = observe(stream, observer)
                if stream is result:  # a generator, which is replaced by another
                    result = replaced
        if postponed is not None:
            observed = True
            follow_body(result, self, postponed)
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
