"""Isolate an instrumentor's generator around one of a framework's, whose runs happen inside its span.

The instrumentor's code is entered and left with each item, as it would be without isolation, so that the
spans of the run are below its span. The program gets the framework's items, exceptions and return value, and
the context of the instrumentor is there for the framework's code only.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from somatrace.context.collector_safety import changing
from somatrace.instrumentation.llm.isolation.feed import stepped, unlisted
from somatrace.instrumentation.llm.isolation.guarded_calls import Arguments, Wrapper, around_call
from somatrace.instrumentation.llm.isolation.noted_spans import CallSpans, noted_by
from somatrace.runtime.fail_safe import from_a_signal


def around_run(wrapper: Wrapper, arguments: Arguments, name: str, read: Callable[[Any], Any]) -> Wrapper:
    """`wrapper`, which instruments the method `name` of a framework, isolated from it.

    It gets `read(answer)` in place of an answer that is no stream.
    """
    if not inspect.isgeneratorfunction(wrapper) and not inspect.isasyncgenfunction(wrapper):
        return around_call(wrapper, arguments, name, read)

    @functools.wraps(wrapper)
    def called(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        stream = wrapped(*args, **kwargs)
        if not inspect.isgenerator(stream) and not inspect.isasyncgen(stream):
            return stream
        return _generator(_Run(stream, lambda read: wrapper(read, instance, *arguments(args, kwargs)), name))

    return called


def in_own_context(stream: Any) -> Any:
    """A generator like `stream`, which leaves the context of the code that reads it as it is."""
    if not inspect.isgenerator(stream) and not inspect.isasyncgen(stream):
        return stream
    return _generator(_Run(stream, None, ""))


def _generator(run: _Run) -> Any:
    around: Any = _items(run) if inspect.isgenerator(run.stream) else _async_items(run)
    around.__name__, around.__qualname__ = run.stream.__name__, run.stream.__qualname__
    return around


class _Run:
    """The framework's generator, and the instrumentor's that reads it."""

    def __init__(self, stream: Any, wrap: Callable[[Any], Any] | None, name: str) -> None:
        self.stream = stream
        #: What the framework has given and the program has not got yet.
        self.items: list[Any] = []
        self.value: Any = None
        self.ended = False
        self._wrap = wrap
        #: The instrumentor's generator. None before the first step, and once it has ended or failed.
        self._around: Any = None
        self._wraps = wrap is not None
        self._spans = CallSpans(name)
        self._failure: BaseException | None = None
        #: The next step of the framework's generator.
        self._next: Callable[[], Any] | None = None
        self._context: Context | None = None

    def step(self) -> bool:
        """Let the framework give its next item. Returns False if there is none."""
        with self._inside():
            try:
                if self._wraps:
                    with self._spans.noting():
                        next(self._started())
            except StopIteration:
                self._wraps = False
            except BaseException as error:
                self._raised(error)
            if not self.items and not self.ended:
                self._wraps = False
                self._read(self._take())
        return self._has_more()

    async def step_async(self) -> bool:
        """The same for an asynchronous generator."""
        with self._inside():
            try:
                if self._wraps:
                    with self._spans.noting():
                        await unlisted(self._started().__anext__)
            except StopAsyncIteration:
                self._wraps = False
            except BaseException as error:
                self._raised(error)
            if not self.items and not self.ended:
                self._wraps = False
                await self._read_async(self._take())
        return self._has_more()

    def answer(self, method: str, value: Any) -> None:
        """Pass what the program sends or throws to the framework with the next step."""
        self._next = functools.partial(getattr(self.stream, method), value)

    def close(self) -> None:
        """The program gives the framework's generator up."""
        with self._inside():
            self.stream.close()

    async def close_async(self) -> None:
        """The same for an asynchronous generator."""
        with self._inside():
            await unlisted(self.stream.aclose)

    def end(self, error: BaseException | None = None) -> None:
        """End the instrumentor's generator and its spans."""
        with self._inside():
            try:
                with self._spans.noting():
                    if hasattr(self._around, "aclose"):
                        stepped(self._around.aclose())
                    elif self._around is not None:
                        self._around.close()
            except Exception as fault:
                self._spans.fault(fault)
        self._spans.close(error)
        self._failure = self._around = None

    # What the instrumentor's generator gets in place of the framework's method and its generator.

    def __call__(self, *_: Any, **__: Any) -> _Run:
        return self

    def __iter__(self) -> _Run:
        return self

    def __aiter__(self) -> _Run:
        return self

    def __next__(self) -> Any:
        self._read(self._take())
        if self._failure is not None:
            raise self._failure
        if self.ended:
            raise StopIteration
        return self.items[-1]

    async def __anext__(self) -> Any:
        await self._read_async(self._take())
        if self._failure is not None:
            raise self._failure
        if self.ended:
            raise StopAsyncIteration
        return self.items[-1]

    def _started(self) -> Any:
        if self._around is None and self._wrap is not None:
            self._around = self._wrap(self)
        return self._around

    def _take(self) -> Callable[[], Any]:
        step, self._next = self._next, None
        return step or getattr(self.stream, "__next__", None) or self._anext

    def _anext(self) -> Any:
        return unlisted(self.stream.__anext__)

    def _read(self, step: Callable[[], Any]) -> None:
        if self.ended:
            return
        try:
            with noted_by(None):
                self.items.append(step())
        except StopIteration as stop:
            self.ended, self.value = True, stop.value
        except BaseException as error:
            self.ended, self._failure = True, error

    async def _read_async(self, step: Callable[[], Any]) -> None:
        if self.ended:
            return
        try:
            with noted_by(None):
                self.items.append(await step())
        except StopAsyncIteration:
            self.ended = True
        except BaseException as error:
            self.ended, self._failure = True, error

    def _raised(self, error: BaseException) -> None:
        """The instrumentor's generator has raised `error`: its own fault, or what the framework raises."""
        self._wraps = False
        if error is self._failure:
            return
        if not isinstance(error, Exception) or from_a_signal(error):
            raise error
        self._spans.fault(error)

    def _has_more(self) -> bool:
        if self.items:
            return True
        if self._failure is not None:
            raise self._failure
        return not self.ended

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Run a block in the context that the instrumentor has made, and leave the program's as it is."""
        outside = otel_context.get_current()
        changing()
        if self._context is not None:
            otel_context.attach(self._context)
        try:
            yield
        finally:
            self._context = otel_context.get_current()
            changing()
            if self._context is not outside:
                otel_context.attach(outside)


def _items(run: _Run) -> Generator[Any, Any, Any]:
    try:
        while run.step():
            try:
                sent = yield run.items.pop(0)
            except GeneratorExit:
                run.close()
                raise
            except BaseException as error:
                run.answer("throw", error)
            else:
                if sent is not None:
                    run.answer("send", sent)
    except BaseException as error:
        run.end(error)
        raise
    run.end()
    return run.value


async def _async_items(run: _Run) -> AsyncGenerator[Any, Any]:
    try:
        while await run.step_async():
            try:
                sent = yield run.items.pop(0)
            except GeneratorExit:
                await run.close_async()
                raise
            except BaseException as error:
                run.answer("athrow", error)
            else:
                if sent is not None:
                    run.answer("asend", sent)
    except BaseException as error:
        run.end(error)
        raise
    run.end()
