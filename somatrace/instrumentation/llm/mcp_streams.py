"""Streams of MCP sessions that behave like those of the SDK.

The instrumentor puts wrappers of its own around them. Its writers swallow the exceptions of `send` and add an
empty `_meta` to requests; its reader is one only in an `async for`, and expects items of its own type.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from opentelemetry import context as otel_context
from wrapt import ObjectProxy

log = logging.getLogger("somatrace")

_WRITERS: Final = ("InstrumentedStreamWriter", "ContextSavingStreamWriter")
_READER: Final = "ContextAttachingStreamReader"


def replace_streams(package: str) -> None:
    """Replace the stream wrappers of the loaded `package`. To be called before it instruments."""
    module = sys.modules.get(f"{package}.instrumentation")
    for name in _WRITERS:
        original = getattr(module, name, None)
        if original is not None:
            setattr(module, name, _writing_with(original))
    if hasattr(module, _READER):
        setattr(module, _READER, lambda stream, _tracer: _Reader(stream))


def _writing_with(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda stream, tracer: _Writer(stream, lambda sending: original(sending, tracer))


class _Stream(ObjectProxy):  # type: ignore[type-arg]
    """A stream; its context manager gives this object, and not the wrapped stream."""

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self.__wrapped__.__aexit__(*error)


class _Writer(_Stream):
    """A stream of sent messages, which the instrumentor observes."""

    def __init__(self, stream: Any, observing: Callable[[Any], Any]) -> None:
        super().__init__(stream)
        self._self_observing = observing

    def clone(self) -> _Writer:
        return _Writer(self.__wrapped__.clone(), self._self_observing)

    async def send(self, item: Any) -> Any:
        sending = _Sending(self.__wrapped__, item)
        try:
            await self._self_observing(sending).send(item)
        except Exception as error:
            log.debug("%s in the instrumentation of an MCP message", type(error).__name__)
        if sending.failure is not None:
            raise sending.failure
        if not sending.called:
            sending.restore()
            await self.__wrapped__.send(item)


class _Sending:
    """The sending of one message, and its failure."""

    def __init__(self, stream: Any, item: Any) -> None:
        self._stream = stream
        message = getattr(item, "message", item)
        self._request = getattr(message, "root", message)
        self._params: Any = getattr(self._request, "params", None)
        self._had_meta = isinstance(self._params, dict) and "_meta" in self._params
        self.called = False
        self.failure: Exception | None = None

    async def send(self, item: Any) -> None:
        self.called = True
        try:
            self.restore()
            await self._stream.send(item)
        except Exception as failure:
            self.failure = failure
            raise

    def restore(self) -> None:
        """Take an empty `_meta` out of the request that it did not have."""
        params: Any = getattr(self._request, "params", None)
        if self._had_meta or not isinstance(params, dict) or params.get("_meta") != {}:
            return
        if self._params is not params:
            self._request.params = self._params
        else:
            del params["_meta"]


class _Reader(_Stream):
    """A stream of received messages, each with the context of the code that has sent it."""

    def clone(self) -> _Reader:
        return _Reader(self.__wrapped__.clone())

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for item in self.__wrapped__:
            context = getattr(item, "ctx", None)
            if context is None:
                yield item
                continue
            token = otel_context.attach(context)
            try:
                yield item.item
            finally:
                otel_context.detach(token)

    async def __anext__(self) -> Any:
        return _item(await self.__wrapped__.__anext__())

    async def receive(self) -> Any:
        return _item(await self.__wrapped__.receive())

    def receive_nowait(self) -> Any:
        return _item(self.__wrapped__.receive_nowait())


def _item(item: Any) -> Any:
    """The message without the context that the instrumentor's writer has put beside it."""
    return item.item if hasattr(item, "ctx") and hasattr(item, "item") else item
