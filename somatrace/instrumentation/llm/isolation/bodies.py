"""Answers of AWS whose body the program reads as bytes: the instrumentor gets them once they are read.

The bedrock and sagemaker instrumentors read the body in the call, and leave another one in its place.
"""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from somatrace.instrumentation.llm.isolation.feed import Feed, stepped
from somatrace.instrumentation.llm.isolation.noted_spans import current_call
from somatrace.instrumentation.llm.isolation.observed import observe

#: The fields of an answer that may hold its body.
_FIELDS = ("body", "Body")


class _Call(Protocol):
    def stream_of(self, feed: Feed) -> Any:
        """The program's stream."""

    def defer(self) -> None:
        """Keep the spans open when the call is done."""

    def noting(self) -> AbstractContextManager[None]: ...

    def fault(self, error: Exception) -> None: ...

    def close(self, error: BaseException | None = None) -> None: ...


def after_reading(handle: Callable[..., Any]) -> Callable[..., Any]:
    """`handle`, an instrumentor's function that reads the answer of a call, to run when the program has."""

    @functools.wraps(handle)
    def deferred(*given: Any) -> Any:
        return None if _defer(handle, given) else handle(*given)

    @functools.wraps(handle)
    async def deferred_awaitable(*given: Any) -> Any:
        return None if _defer(handle, given) else await handle(*given)

    return deferred_awaitable if inspect.iscoroutinefunction(handle) else deferred


def _defer(handle: Callable[..., Any], given: tuple[Any, ...]) -> bool:
    """Call `handle` when the program has read the body among its arguments. False if there is none."""
    call: Any = current_call()
    found = _body_of(call, given)
    if found is None:
        return False
    at, field, body = found
    kind, response = type(body), given[at]
    asynchronous = inspect.iscoroutinefunction(kind.read)

    def finish(data: bytes) -> None:  # without the body itself, whose end as garbage is awaited
        read = _Read(data) if asynchronous else kind(io.BytesIO(data), len(data))
        done = handle(*given[:at], {**response, field: read}, *given[at + 1 :])
        if asynchronous:
            stepped(done)

    call.defer()
    observe(body if asynchronous else body._raw_stream, _Body(call, finish, body._content_length))
    return True


class _Read:
    """A body of aiobotocore that has been read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data


def _body_of(call: _Call | None, given: tuple[Any, ...]) -> tuple[int, str, Any] | None:
    """Which argument is the answer, the field of its body, and the program's body."""
    for at, response in enumerate(given):
        for field in _FIELDS if type(response) is dict and call is not None else ():
            feed = response.get(field)
            if type(feed) is Feed and call is not None:
                body = call.stream_of(feed)
                if hasattr(body, "_raw_stream") and hasattr(body, "_content_length"):
                    return at, field, body
    return None


class _Body:
    """Collects the bytes of one body while the program reads them."""

    def __init__(self, call: _Call, finish: Callable[[bytes], None], length: object) -> None:
        self._call = call
        self._finish = finish
        self._length = int(length) if isinstance(length, (int, str)) and str(length).isdigit() else None
        self._data = bytearray()
        self._done = False
        self.busy = False

    def item(self, item: Any) -> None:
        """The program has read some bytes."""
        if self._done:
            return
        self._data += item
        if self._length is not None and len(self._data) >= self._length:
            self.ended()

    def entered(self, _: object) -> None:
        """A body that is entered is the same body."""

    def ended(self, error: BaseException | None = None) -> None:
        """The program has read everything, has failed to, or has given the body up."""
        if self._done:
            return
        self._done = True
        if error is None:
            try:
                with self._call.noting():
                    self._finish(bytes(self._data))
            except Exception as fault:
                self._call.fault(fault)
        self._call.close(error)
