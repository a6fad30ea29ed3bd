"""The typed events of a streamed answer, read from bytes as they pass.

The client's own stream decodes them: it is fed with bytes, and stops where it would wait for more of them.
So its events, its end and its exceptions are those that a program gets that lets the client read.
"""

from __future__ import annotations

import sys
import typing
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

#: An event that is longer is not decoded, nor is what follows it.
_MOST_WAITING: Final = 4 * 1024 * 1024


def stream_class(raw: Any) -> type | None:
    """The class of the stream as which a client would parse the raw answer."""
    declared = getattr(raw, "_stream_cls", None) or getattr(raw._client, "_default_stream_cls", None)
    found = typing.get_origin(declared) or declared
    return found if isinstance(found, type) else None


class PushedStream:
    """The stream of one raw answer. It keeps neither that nor its HTTP response."""

    def __init__(self, raw: Any) -> None:
        response = raw.http_response
        self._source = _Source(response)
        self._client_package = type(raw).__module__.partition(".")[0]
        declared = getattr(raw, "_stream_cls", None)
        chunk = next(iter(typing.get_args(declared)), raw._cast_to)
        kind: Any = getattr(sys.modules[_class_of(raw).__module__], "AsyncStream", None)
        self._stream: Any = kind(cast_to=chunk, response=self._source, client=raw._client)
        self._stream._options = getattr(raw, "_options", None)
        self._step: Any = None
        self._waiting = 0
        self._over = False
        #: The client's exception with which the answer has ended.
        self.error: Exception | None = None

    def feed(self, data: bytes) -> Iterator[Any]:
        """The events that are complete with `data`."""
        self._source.add(data)
        self._waiting += len(data)
        yield from self._events()
        if self._waiting > _MOST_WAITING:
            self.close()

    def end(self) -> Iterator[Any]:
        """The events that are complete with the end of the answer."""
        self._source.over = True
        yield from self._events()
        self.close()

    def close(self) -> None:
        """Decode nothing more, and keep nothing of it."""
        self._over = True
        step, self._step, self._stream = self._step, None, None
        self._source.clear()
        if step is not None:
            step.close()

    def _events(self) -> Iterator[Any]:
        while not self._over:
            try:
                with _unlisted():
                    if self._step is None:
                        self._step = self._stream.__anext__()
                    self._step.send(None)
            except StopIteration as stop:
                self._step = None
                self._waiting = 0
                yield stop.value
            except StopAsyncIteration:
                self._step = None
                self.close()
            except Exception as error:
                self._step = None
                # bytes that the client cannot decode are no failure for a program that reads bytes
                if type(error).__module__.partition(".")[0] == self._client_package:
                    self.error = error
                self.close()
            else:
                return  # it waits for bytes


def _class_of(raw: Any) -> type:
    found = stream_class(raw)
    if found is None:
        raise TypeError("no class of streams")
    return found


class _Source:
    """Takes the place of an HTTP response, with the bytes that have passed so far."""

    def __init__(self, response: Any) -> None:
        self.request = getattr(response, "_request", None)
        self.status_code = getattr(response, "status_code", None)
        self.headers = getattr(response, "headers", None)
        self.over = False
        self._chunks: deque[bytes] = deque()

    def add(self, data: bytes) -> None:
        self._chunks.append(data)

    def clear(self) -> None:
        self._chunks.clear()

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self.over:
                return
            await _Pause()

    async def aclose(self) -> None:
        """Nothing is closed: the response belongs to the program."""


class _Pause:
    """Gives the control back until there are more bytes."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@contextmanager
def _unlisted() -> Iterator[None]:
    """Keep asynchronous generators that begin here from the event loop, which would close them at its end."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=None)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
