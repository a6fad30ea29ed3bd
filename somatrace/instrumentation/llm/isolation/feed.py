"""Stand-ins that an instrumentor gets in place of a streamed answer, and what fills them."""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol

from somatrace.instrumentation.llm.isolation.answer_failures import failure_in
from somatrace.instrumentation.llm.isolation.first_token import has_token
from somatrace.runtime.fail_safe import from_a_signal

#: Methods by which streams, managers of streams and nothing else are recognized.
_READS = ("__next__", "__anext__")
_MANAGES = ("__enter__", "__aenter__")


class Call(Protocol):
    """The call that a stream answers."""

    @property
    def asynchronous(self) -> bool:
        """Whether the program awaits the call."""

    def fault(self, error: Exception) -> None:
        """Take note of an instrumentor's failure."""

    def noting(self) -> Any:
        """A context manager that notes the spans that start in it."""

    def answering(self) -> None:
        """Note on the spans of the call that the first token of its answer has just arrived."""

    def answer_failed(self, error: BaseException | str) -> None:
        """Mark the spans of the call as failed with an exception or an error type."""

    def close(self, error: BaseException | None = None) -> None:
        """End the spans of the call."""


def is_stream(answer: object) -> bool:
    """Whether an answer is read piece by piece: an iterator, an event stream, or a manager of one."""
    kind = type(answer)
    if any(hasattr(kind, name) for name in (*_READS, *_MANAGES)):
        return True
    return any(hasattr(kind, name) for name in ("__iter__", "__aiter__")) and (
        hasattr(kind, "close") or hasattr(kind, "aclose")
    )


class _StarvedError(Exception):
    """An instrumentor asks for more than the program has read."""


class Feed:
    """Has the type of the program's stream, and yields what the program has read of it."""

    def __init__(self, kind: type) -> None:
        self._somatrace_kind = kind
        self._somatrace_items: deque[Any] = deque()
        self._somatrace_end: BaseException | None = None
        self._somatrace_entered: Feed | None = None

    @property
    def __class__(self) -> Any:
        return self._somatrace_kind

    @__class__.setter
    def __class__(self, _: Any) -> None:
        """Keep the type."""

    def __iter__(self) -> Feed:
        return self

    def __aiter__(self) -> Feed:
        return self

    def __next__(self) -> Any:
        if self._somatrace_items:
            item = self._somatrace_items.popleft()
            parse = vars(self).get("_parse_event")
            parsed = item if parse is None else parse(item)
            return stepped(parsed) if inspect.isawaitable(parsed) else parsed
        end = self._somatrace_end
        raise _StarvedError if end is None else end

    async def __anext__(self) -> Any:
        try:
            return self.__next__()
        except StopIteration:
            raise StopAsyncIteration from None

    def __enter__(self) -> Any:
        if self._somatrace_end is not None:
            raise self._somatrace_end
        return self._somatrace_entered or self

    def __exit__(self, *_: object) -> None:
        """Nothing is closed: the stream belongs to the program."""

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        """Nothing is closed: the stream belongs to the program."""

    def close(self) -> None:
        """Nothing is closed: the stream belongs to the program."""

    async def aclose(self) -> None:
        """Nothing is closed: the stream belongs to the program."""

    def _parse_event(self, event: Any) -> Any:
        """Botocore's parser of events, which an instrumentor may replace. The events are parsed already."""
        return _Event(event)


class _Event(dict[str, Any]):
    """A parsed event, also for those who await the parser, as with aiobotocore."""

    def __await__(self) -> Generator[None, None, _Event]:
        yield from ()
        return self


class Observer:
    """Passes what the program reads of an answer to the instrumentor's code around it.

    That code runs beside the program's stream: it cannot change, delay or end it.
    """

    def __init__(self, call: Call, outcome: Any, feed: Feed) -> None:
        self._call = call
        self._outcome = outcome
        self._feed = feed
        self._iterator: Any = None
        self._done = False
        self._has_token = False
        #: Whether the program's stream is being read right now, and by it any stream inside.
        self.busy = False
        kind = feed._somatrace_kind
        reads_synchronously = hasattr(kind, "__iter__") or hasattr(kind, "__enter__")
        reads_asynchronously = hasattr(kind, "__aiter__") or hasattr(kind, "__aenter__")
        self._manages = not hasattr(kind, "__iter__") and not hasattr(kind, "__aiter__")
        self._asynchronous = reads_asynchronously and (call.asynchronous or not reads_synchronously)

    def item(self, item: Any) -> None:
        """The program has read `item`."""
        if self._done:
            return
        if not self._has_token and has_token(item):
            self._has_token = True
            self._call.answering()
        failure = failure_in(item)
        if failure:
            self._call.answer_failed(failure)
        self._feed._somatrace_items.append(item)
        self._step()

    def entered(self, stream: object) -> Observer | None:
        """The program has entered the manager and got `stream`. Returns the observer of that."""
        if self._done:
            return None
        self._feed._somatrace_entered = inner = Feed(type(stream))
        outcome = self._enter()
        if outcome is None:  # it has failed
            return None
        self._done = True  # from now on it is the stream that ends
        self._outcome = None
        return Observer(self._call, outcome, inner)

    def ended(self, error: BaseException | None = None) -> None:
        """The program's stream is exhausted, has failed with `error`, or was given up."""
        if self._done:
            return
        self._feed._somatrace_end = StopIteration() if error is None else error
        if error is not None:
            self._call.answer_failed(error)
        if error is None or isinstance(error, Exception):
            with _as_raised(error):
                if not self._manages:
                    self._step()
                elif error is not None:  # nothing was entered
                    self._enter()
        self._finish(error)

    def _enter(self) -> Any:
        try:
            with self._call.noting():
                if self._asynchronous:
                    return stepped(self._outcome.__aenter__())
                return self._outcome.__enter__()
        except Exception as error:
            self._failed(error)
            self._finish()
            return None

    def _step(self) -> None:
        """Let the instrumentor's code read one item. After a failure it may still understand the next."""
        try:
            with self._call.noting():
                if self._outcome is self._feed:  # the instrumentor has replaced the parser of events only
                    next(self._feed)
                elif self._asynchronous:
                    if self._iterator is None:
                        self._iterator = self._outcome.__aiter__()
                    stepped(self._iterator.__anext__())
                else:
                    if self._iterator is None:
                        self._iterator = iter(self._outcome)
                    next(self._iterator)
        except (StopIteration, StopAsyncIteration):
            if self._feed._somatrace_end is None:
                self._finish()
        except Exception as error:
            self._failed(error)

    def _finish(self, error: BaseException | None = None) -> None:
        """End the spans, and keep nothing alive: an exception keeps frames, and they the stream."""
        self._done = True
        self._feed._somatrace_end = None
        self._feed._somatrace_items.clear()
        self._outcome = self._iterator = None
        self._call.close(error)

    def _failed(self, error: Exception) -> None:
        if from_a_signal(error):
            raise error
        if error is not self._feed._somatrace_end:
            self._call.fault(error)


@contextmanager
def _as_raised(error: BaseException | None) -> Iterator[None]:
    """Keep the traceback and the context of the program's exception, which instrumentors raise again."""
    before = None if error is None else (error.__traceback__, error.__context__, error.__cause__)
    suppressed = error is not None and error.__suppress_context__
    try:
        yield
    finally:
        if error is not None and before is not None:
            error.__traceback__, error.__context__, error.__cause__ = before
            error.__suppress_context__ = suppressed


def stepped(awaitable: Any) -> Any:
    """The result of an awaitable of an instrumentor, which awaits only what is ready."""
    steps: Iterator[Any] = awaitable if hasattr(awaitable, "send") else awaitable.__await__()
    try:
        steps.send(None)  # type: ignore[attr-defined]
    except StopIteration as stop:
        return stop.value
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    raise RuntimeError("an instrumentor waits in the program's stream")


def is_generator(stream: object) -> bool:
    """Whether the stream is a generator of either kind: those have no methods that could be observed."""
    return isinstance(stream, (GeneratorType, AsyncGeneratorType))


def unlisted(step: Callable[[], Any]) -> Any:
    """The awaitable of a step of an asynchronous generator that is closed by another one around it.

    The event loop does not get to know it: on its shutdown it would close both at once, which fails.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=None)
    try:
        return step()
    finally:
        sys.set_asyncgen_hooks(*hooks)
