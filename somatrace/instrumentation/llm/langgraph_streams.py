"""Streams of langgraph's graphs that end when the program closes them.

The instrumentor puts a generator around `Pregel.stream` and `Pregel.astream` that does not close the one it
reads: nodes that ran went on after `aclose`, and were not cancelled.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

_FACTORY: Final = "create_graph_invocation_wrapper"


def close_streams(package: str) -> None:
    """Replace the wrappers of the loaded `package`. To be called before it instruments."""
    module: Any = sys.modules.get(package)
    create = getattr(module, _FACTORY, None)
    if create is None:
        return

    @functools.wraps(create)
    def create_closing(tracer: Any, is_async: bool = False) -> Callable[..., Any]:
        return (_closing_async if is_async else _closing)(create(tracer, is_async))

    setattr(module, _FACTORY, create_closing)


def _closing(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    def stream(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        call = _Noted(wrapped)
        outer = wrapper(call, instance, args, kwargs)
        try:
            yield from outer
        finally:
            if call.stream is not None:
                call.stream.close()

    return stream


def _closing_async(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    async def stream(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        call = _Noted(wrapped)
        outer = wrapper(call, instance, args, kwargs)
        try:
            async for item in outer:
                yield item
        finally:
            # first the graph, within its span
            try:
                if call.stream is not None:
                    await call.stream.aclose()
            finally:
                await outer.aclose()

    return stream


class _Noted:
    """The program's call, with the generator that it has returned."""

    def __init__(self, wrapped: Callable[..., Any]) -> None:
        self._wrapped = wrapped
        self.stream: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.stream = self._wrapped(*args, **kwargs)
        return self.stream
