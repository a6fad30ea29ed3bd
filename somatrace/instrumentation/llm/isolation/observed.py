"""Observe the program's own streams in place: the program keeps the object that the client returned.

The methods of the stream's class are replaced once, by functions that look whether this stream is observed.
Types, attributes, copies and pickles stay as they are, and so do methods that read `self` inside.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, Final

from somatrace.instrumentation.llm.isolation.feed import is_generator, unlisted
from somatrace.instrumentation.llm.isolation.observers import Observes, Reading, observer_of, register
from somatrace.instrumentation.llm.isolation.reads import reading, reading_into

#: How methods are replaced, by their names.
Methods = Mapping[str, Callable[[Callable[..., Any]], Any]]

#: The classes whose methods are replaced.
_patched: Final[weakref.WeakSet[type]] = weakref.WeakSet()
_patching: Final = threading.Lock()


def observe(stream: Any, observer: Observes, methods: Methods | None = None) -> Any:
    """What the program reads of `stream` from now on is passed to `observer`. Returns the stream.

    Only a generator is replaced, by a generator around it. What cannot be observed is left alone.
    `methods`: the methods that read, and how each is replaced, for a class that is no stream.
    """
    if is_generator(stream):
        around = around_generator(stream, observer, whole=True)
        register(around, observer)
        return around
    try:
        _patch(type(stream), methods or _METHODS)
        register(stream, observer)
    except TypeError:  # a type of the C API
        observer.ended()
    return stream


def _patch(kind: type, methods: Methods) -> None:
    with _patching:
        if kind in _patched:
            return
        for name, replace in methods.items():
            method = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
            if callable(method) and not hasattr(method, "_somatrace_original"):
                function = replace(method)
                function._somatrace_original = method
                setattr(kind, name, function)
        _patched.add(kind)


def _next(method: Callable[..., Any]) -> Any:
    @functools.wraps(method)
    def observed(self: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return method(self)
        with Reading(observer):
            item = method(self)
        observer.item(item)
        return item

    return observed


def _anext(method: Callable[..., Any]) -> Any:
    if inspect.isasyncgenfunction(method):  # of aiobotocore's event streams, for their `__aiter__`
        return iterating(method)

    @functools.wraps(method)
    async def observed(self: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return await method(self)
        with Reading(observer):
            item = await method(self)
        observer.item(item)
        return item

    return observed


def iterating(method: Callable[..., Any]) -> Any:
    """Around `__iter__` and other methods that return an iterator."""

    @functools.wraps(method)
    def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        observer = observer_of(self)
        iterator = method(self, *args, **kwargs)
        if observer is None or iterator is self or not is_generator(iterator) or _is_around(iterator):
            return iterator
        return around_generator(iterator, observer, whole=False)

    return observed


def around_generator(generator: Any, observer: Observes, *, whole: bool) -> Any:
    """A generator like this one. `whole`: its end is the stream's end, also if it is closed."""
    kind = _around if inspect.isgenerator(generator) else _around_async
    around: Any = kind(generator, observer, whole)
    around.__name__, around.__qualname__ = generator.__name__, generator.__qualname__
    return around


def _around(generator: Generator[Any, Any, Any], observer: Observes, whole: bool) -> Generator[Any, Any, Any]:
    step: Callable[[], Any] = functools.partial(next, generator)
    while True:
        try:
            with Reading(observer):
                item = step()
        except StopIteration as stop:
            return stop.value
        observer.item(item)
        try:
            sent = yield item
        except GeneratorExit:
            generator.close()
            if whole:
                observer.ended()
            raise
        except BaseException as error:
            step = functools.partial(generator.throw, error)
        else:
            step = functools.partial(generator.send, sent)


async def _around_async(
    generator: AsyncGenerator[Any, Any], observer: Observes, whole: bool
) -> AsyncGenerator[Any, Any]:
    step: Callable[[], Any] = functools.partial(unlisted, generator.__anext__)
    while True:
        try:
            with Reading(observer):
                item = await step()
        except StopAsyncIteration:
            return
        observer.item(item)
        try:
            sent = yield item
        except GeneratorExit:
            await generator.aclose()
            if whole:
                observer.ended()
            raise
        except BaseException as error:
            step = functools.partial(generator.athrow, error)
        else:
            step = functools.partial(generator.asend, sent)


def _is_around(generator: Any) -> bool:
    """Whether it is a generator of this module: a method that calls another has observed that already."""
    code = getattr(generator, "gi_code", None) or getattr(generator, "ag_code", None)
    return code in (_around.__code__, _around_async.__code__)


def _enter(method: Callable[..., Any]) -> Any:
    @functools.wraps(method)
    def observed(self: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return method(self)
        with Reading(observer):
            entered = method(self)
        return _entered(self, entered, observer)

    return observed


def _aenter(method: Callable[..., Any]) -> Any:
    @functools.wraps(method)
    async def observed(self: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return await method(self)
        with Reading(observer):
            entered = await method(self)
        return _entered(self, entered, observer)

    return observed


def _entered(manager: Any, stream: Any, observer: Observes) -> Any:
    if stream is manager:
        return stream
    inner = observer.entered(stream)
    return stream if inner is None else observe(stream, inner)


def closing(method: Callable[..., Any]) -> Any:
    """Around `close` and `__exit__`, in their synchronous form. A coroutine is awaited by the program."""

    @functools.wraps(method)
    def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        observer = observer_of(self)
        try:
            return method(self, *args, **kwargs)
        finally:
            if observer is not None:
                observer.ended()

    @functools.wraps(method)
    async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
        observer = observer_of(self)
        try:
            return await method(self, *args, **kwargs)
        finally:
            if observer is not None:
                observer.ended()

    return awaited if inspect.iscoroutinefunction(method) else observed


_METHODS: Final[Methods] = {
    "__next__": _next,
    "__anext__": _anext,
    "__iter__": iterating,
    "__aiter__": iterating,
    "__enter__": _enter,
    "__aenter__": _aenter,
    "__exit__": closing,
    "__aexit__": closing,
    "close": closing,
    "aclose": closing,
    # of the bodies of AWS's answers
    "read": reading,
    "read1": reading,
    "readinto": reading_into,
    "read_chunked": iterating,
    "stream": iterating,
}
