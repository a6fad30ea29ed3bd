"""Base class for `span` and `bind`: with-blocks, async with-blocks and decorators.

The body of a generator runs step by step in the context of its consumer. So its scope is attached for
each step and detached at each yield, and the consumer sees nothing of it in between. The scope is opened
when the generator is created, because a streamed response is consumed later, in another task.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from somatrace.context.exception_origins import note_thrown
from somatrace.context.open_blocks import Block, is_open_here, resume, suspend_above, top_block

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class ContextScope(Protocol):
    """One use of a block. `attach` and `detach` are called in pairs, on any task; `end` is called once.

    Creating a scope only captures the context; its span starts with the first `attach`, so that a
    generator that is never pulled leaves nothing open. `create_inside` calls the function that creates
    such a generator, so that this scope encloses those of the generator's own decorators.
    """

    def attach(self) -> object: ...
    def detach(self) -> None: ...
    def create_inside(self, make: Callable[[], T], /) -> T: ...
    def end(self, error: BaseException | None, /) -> None: ...


def create_attached(scope: ContextScope, make: Callable[[], T]) -> T:
    """Call `make` while `scope` is attached, for scopes that start nothing when attached."""
    scope.attach()
    try:
        return make()
    finally:
        scope.detach()


class ContextDecorator:
    """Makes a scope usable as a with-block, an async with-block and a decorator."""

    def _open(self) -> ContextScope | None:
        """The scope of a block, call or generator; None if there is nothing to do."""
        raise NotImplementedError

    def _open_once(self) -> ContextScope | None:
        """The scope of a block or call, which is attached at once, and only once."""
        return self._open()

    def __init__(self) -> None:
        self._entered: list[tuple[ContextScope, Block | None]] = []

    def _enter(self, scope: ContextScope) -> object:
        entered = scope.attach()
        self._entered.append((scope, top_block()))
        return entered

    def _take(self, entered: list[tuple[ContextScope, Block | None]]) -> tuple[ContextScope, Block | None]:
        """Which one is left: several tasks and threads may have entered this object."""
        one = next((each for each in entered if each[1] is not None and is_open_here(each[1])), entered[0])
        self._entered.remove(one)  # also if left in another context than it was entered in
        return one

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered = self._entered
        if entered:
            # one that another thread adds meanwhile comes after it
            scope, _ = entered.pop(0) if len(entered) == 1 else self._take(entered[::-1])
            scope.detach()
            scope.end(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function, generator or async generator function, or a method."""
        return _wrap(function, self._open, self._open_once)


OpenScope = Callable[[], ContextScope | None]


def _wrap(function: F, open_scope: OpenScope, open_once: OpenScope) -> F:
    """Wrap `function` in a new scope for each call; its kind and signature do not change."""
    if isinstance(function, (staticmethod, classmethod)):
        return cast("F", type(function)(_wrap(function.__func__, open_scope, open_once)))
    if _is(function, inspect.isasyncgenfunction) or _is(function, inspect.isgeneratorfunction):
        run: Callable[..., Any] = _async_steps if _is(function, inspect.isasyncgenfunction) else _steps
        if _is(function, _is_iterable_coroutine):
            run = _awaited_steps

        def create(inner: Callable[..., Any], _: object, args: Any, kwargs: Any) -> Any:
            scope = open_scope()
            if scope is None:
                return inner(*args, **kwargs)
            holder: list[Any] = []
            # created before the inner generator: abandoned generators are closed in order of creation, so the
            # last steps of the body still run in their scope
            steps = run(holder, scope)
            holder.append(scope.create_inside(functools.partial(inner, *args, **kwargs)))
            return steps

        from somatrace.context.generator_function import GeneratorFunction

        return cast("F", GeneratorFunction(function, create))
    if _is(function, inspect.iscoroutinefunction):
        return cast("F", _coroutine_function(function, open_once))

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        scope = open_once()
        if scope is None:
            return function(*args, **kwargs)
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


def _coroutine_function(function: Callable[..., Any], open_once: OpenScope) -> Callable[..., Any]:
    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        scope = open_once()
        if scope is None:
            return await function(*args, **kwargs)
        return await _awaited(scope, function, args, kwargs)

    return awaited


def _is(function: Callable[..., Any], predicate: Callable[[Any], bool]) -> bool:
    """Whether `predicate` holds for `function`, or for the `__call__` of a callable object."""
    return predicate(function) or (not inspect.isclass(function) and predicate(type(function).__call__))


def _is_iterable_coroutine(function: Any) -> bool:
    """Whether `function` is a generator function made awaitable by `types.coroutine`."""
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


class _StepScope:
    """The scope of a generator during its steps. Blocks that its body has open at a yield are suspended until
    the next step, so that the consumer sees nothing of them."""

    def __init__(self, scope: ContextScope) -> None:
        self._scope = scope
        self._block: Block | None = None
        self._suspended: list[Block] = []

    def __enter__(self) -> None:
        self._scope.attach()
        self._block = top_block()
        resume(self._suspended)

    def __exit__(self, *_: object) -> None:
        self._suspended = suspend_above(self._block)
        self._scope.detach()


def _steps(holder: list[Generator[Any, Any, Any]], scope: ContextScope) -> Generator[Any, Any, Any]:
    (inner,) = holder
    step: Callable[[], Any] = functools.partial(next, inner)
    step_scope = _StepScope(scope)
    error: BaseException | None = None
    try:
        while True:
            with step_scope:
                try:
                    item = step()
                except StopIteration as stop:
                    return stop.value
            try:
                sent = yield item
            except GeneratorExit:
                with step_scope:
                    inner.close()
                raise
            except BaseException as thrown:
                note_thrown(thrown)  # its text is of the consumer's work
                step = functools.partial(inner.throw, thrown)
            else:
                step = functools.partial(inner.send, sent)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope.end(error)


@types.coroutine
def _awaited_steps(holder: list[Generator[Any, Any, Any]], scope: ContextScope) -> Generator[Any, Any, Any]:
    return (yield from _steps(holder, scope))


async def _async_steps(
    holder: list[AsyncGenerator[Any, Any]], scope: ContextScope
) -> AsyncGenerator[Any, Any]:
    (inner,) = holder
    step: Callable[[], Any] = inner.__anext__
    step_scope = _StepScope(scope)
    error: BaseException | None = None
    try:
        while True:
            with step_scope:
                try:
                    item = await step()
                except StopAsyncIteration:
                    return
            try:
                sent = yield item
            except GeneratorExit:
                with step_scope:
                    await inner.aclose()
                raise
            except BaseException as thrown:
                note_thrown(thrown)  # its text is of the consumer's work
                step = functools.partial(inner.athrow, thrown)
            else:
                step = functools.partial(inner.asend, sent)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope.end(error)
