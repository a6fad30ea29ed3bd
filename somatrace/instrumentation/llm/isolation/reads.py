"""Observe methods that read the bytes of a body."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from somatrace.instrumentation.llm.isolation.observers import Observes, Reading, observer_of


def reading(method: Callable[..., Any]) -> Any:
    """`read`, observed."""

    @functools.wraps(method)
    def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return method(self, *args, **kwargs)
        with Reading(observer):
            data = method(self, *args, **kwargs)
        _note_data(observer, data, *args, **kwargs)
        return data

    @functools.wraps(method)
    async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return await method(self, *args, **kwargs)
        with Reading(observer):
            data = await method(self, *args, **kwargs)
        _note_data(observer, data, *args, **kwargs)
        return data

    return awaited if inspect.iscoroutinefunction(method) else observed


def _note_data(observer: Observes, data: Any, amt: Any = None, *_: Any, **__: Any) -> None:
    if isinstance(data, bytes):
        observer.item(data)
        if amt is None or (not data and amt != 0):
            observer.ended()


def reading_into(method: Callable[..., Any]) -> Any:
    """`readinto`, observed."""

    @functools.wraps(method)
    def observed(self: Any, buffer: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return method(self, buffer)
        with Reading(observer):
            count = method(self, buffer)
        _note_buffer(observer, buffer, count)
        return count

    @functools.wraps(method)
    async def awaited(self: Any, buffer: Any) -> Any:
        observer = observer_of(self)
        if observer is None:
            return await method(self, buffer)
        with Reading(observer):
            count = await method(self, buffer)
        _note_buffer(observer, buffer, count)
        return count

    return awaited if inspect.iscoroutinefunction(method) else observed


def _note_buffer(observer: Observes, buffer: Any, count: int) -> None:
    if count:
        observer.item(bytes(memoryview(buffer)[:count]))
    elif len(buffer):
        observer.ended()
