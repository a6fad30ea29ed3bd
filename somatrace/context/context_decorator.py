"""Scopes around any callable: what `with`, `async with` and decorators of `span` and `bind` share.

A generator's body runs in the context of whoever pulls it, piece by piece: so its scope is resumed
for each step and paused at each yield, and nothing of it is seen by the consumer in between. It is
opened when the generator is made, because a streamed answer is consumed later, in another task.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

import wrapt

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class ContextScope(Protocol):
    """One use of a block. `resume` and `pause` come in pairs, on any task; `finish` comes once.

    Making one only captures; what it stands for starts with the first `resume`, so that a generator
    that is never pulled leaves nothing open. `making` calls what makes such a generator, in whose own
    decorators this scope is the one around. `here` says whether it was resumed in this context.
    """

    def attach(self) -> object: ...
    def detach(self) -> None: ...
    def create_inside(self, make: Callable[[], T], /) -> T: ...
    def is_current(self) -> bool: ...
    def end(self, error: BaseException | None, /) -> None: ...


def made_inside(scope: ContextScope, make: Callable[[], T]) -> T:
    """What `make` makes, made in a scope that can be resumed for a moment without starting anything."""
    scope.attach()
    try:
        return make()
    finally:
        scope.detach()


class ContextDecorator:
    """Base of what opens scopes: gives it the with-block, the async with-block and the decorator."""

    def _open(self) -> ContextScope:
        raise NotImplementedError

    def __init__(self) -> None:
        self._scopes: list[ContextScope] = []

    def _enter(self) -> object:
        scope = self._open()
        self._scopes.append(scope)
        return scope.attach()

    def _leave(self, error: BaseException | None) -> None:
        scopes = self._scopes[::-1]  # one object may be entered by several tasks and threads at once
        for scope in scopes:
            if scope.is_current() or scope is scopes[-1]:
                self._scopes.remove(scope)
                scope.detach()
                scope.end(error)
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function, generator or async generator function, or a method."""
        return wrap(function, self._open)


def wrap(function: F, open_scope: Callable[[], ContextScope]) -> F:
    """`function` with a scope of its own around each call; its kind and signature stay what they are."""
    if isinstance(function, (staticmethod, classmethod)):
        return cast("F", type(function)(wrap(function.__func__, open_scope)))
    if _is(function, inspect.isasyncgenfunction) or _is(function, inspect.isgeneratorfunction):
        run: Callable[..., Any] = _async_steps if _is(function, inspect.isasyncgenfunction) else _steps
        if _is(function, _is_iterable_coroutine):
            run = _awaited_steps

        def made(inner: Callable[..., Any], _: object, args: Any, kwargs: Any) -> Any:
            scope = open_scope()
            drives: list[Any] = []
            # made before what it drives: the collector closes abandoned generators in that order, and the
            # body's last steps then run in their scope too
            steps = run(drives, scope)
            drives.append(scope.create_inside(functools.partial(inner, *args, **kwargs)))
            return steps

        return cast("F", _GeneratorFunction(function, made))
    if _is(function, inspect.iscoroutinefunction):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            scope = open_scope()
            return await _awaited(scope, function, args, kwargs)

        return cast("F", awaited)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        scope = open_scope()
        scope.attach()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            scope.detach()
            scope.end(error)
            raise
        scope.detach()
        scope.end(None)
        return result

    return cast("F", called)


def _is(function: Callable[..., Any], what: Callable[[Any], bool]) -> bool:
    """Whether `function`, or what an object runs when it is called, is what `what` asks for."""
    return what(function) or (not inspect.isclass(function) and what(type(function).__call__))


def _is_iterable_coroutine(function: Any) -> bool:
    """Whether it is a generator function that `types.coroutine` has made awaitable."""
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)


async def _awaited(scope: ContextScope, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    scope.attach()
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        scope.detach()
        scope.end(error)
        raise
    scope.detach()
    scope.end(None)
    return result


class _GeneratorFunction(wrapt.FunctionWrapper[Any, Any]):
    """A wrapped generator function that is still one for `inspect` (FastAPI asks), that opens its
    scope at the call, and that pickles by name like a plain function."""

    def __reduce_ex__(self, protocol: object) -> str:
        return str(self.__wrapped__.__qualname__)


def _steps(drives: list[Generator[Any, Any, Any]], scope: ContextScope) -> Generator[Any, Any, Any]:
    (inner,) = drives
    step: Callable[[], Any] = functools.partial(next, inner)
    error: BaseException | None = None
    try:
        while True:
            scope.attach()
            try:
                item = step()
            except StopIteration as stop:
                return stop.value
            finally:
                scope.detach()
            try:
                sent = yield item
            except GeneratorExit:
                scope.attach()
                try:
                    inner.close()
                finally:
                    scope.detach()
                raise
            except BaseException as thrown:
                step = functools.partial(inner.throw, thrown)
            else:
                step = functools.partial(inner.send, sent)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope.end(error)


@types.coroutine
def _awaited_steps(drives: list[Generator[Any, Any, Any]], scope: ContextScope) -> Generator[Any, Any, Any]:
    return (yield from _steps(drives, scope))


async def _async_steps(
    drives: list[AsyncGenerator[Any, Any]], scope: ContextScope
) -> AsyncGenerator[Any, Any]:
    (inner,) = drives
    step: Callable[[], Any] = inner.__anext__
    error: BaseException | None = None
    try:
        while True:
            scope.attach()
            try:
                item = await step()
            except StopAsyncIteration:
                return
            finally:
                scope.detach()
            try:
                sent = yield item
            except GeneratorExit:
                scope.attach()
                try:
                    await inner.aclose()
                finally:
                    scope.detach()
                raise
            except BaseException as thrown:
                step = functools.partial(inner.athrow, thrown)
            else:
                step = functools.partial(inner.asend, sent)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope.end(error)
