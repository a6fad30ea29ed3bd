"""Replace the streams that the mcp instrumentor puts around those of a connection.

They swallow the exceptions of a broken connection, so that a client waits for ever, and those of the
program in its `async with` block, and they write into the program's messages. A reader is one only in an
`async for`. These behave like the streams of the SDK.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import default_getter

from somatrace import propagation
from somatrace.instrumentation.llm.isolation.framework_values import arguments_for, copied
from somatrace.instrumentation.llm.isolation.guarded_calls import GuardedCall, guarded
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.instrumentation.llm.isolation.quiet_context import detach

#: The package whose messages the instrumentor reads.
_PACKAGES: Final = ("mcp",)
_STREAMS: Final = (
    "ContextAttachingStreamReader",
    "ContextSavingStreamWriter",
    "InstrumentedStreamReader",
    "InstrumentedStreamWriter",
)


def isolate_streams(package: str) -> None:
    """Replace them in the loaded `package`. To be called before it instruments."""
    module: Any = sys.modules.get(f"{package}.instrumentation")
    if not hasattr(module, "InstrumentedStreamReader"):
        return
    module.InstrumentedStreamReader.__aiter__ = _received
    module.InstrumentedStreamWriter.send = _sending(module.InstrumentedStreamWriter.send)
    module.ContextAttachingStreamReader.__aiter__ = _received_with_context
    module.ContextSavingStreamWriter.send = functools.partialmethod(
        _send_with_context, module.ItemWithContext
    )
    for name in _STREAMS:
        _complete(getattr(module, name))
    module.McpInstrumentor._transport_wrapper = _transport_wrapper(module)


def _complete(stream: Any) -> None:
    """Give a class of wrappers what else a stream has: `async with`, clones, and items one by one."""

    async def entered(self: Any) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    stream.__aenter__ = entered
    stream.clone = lambda self: stream(self.__wrapped__.clone(), self._tracer)
    if "__aiter__" in vars(stream):
        stream.__anext__ = _next
        stream.receive = _receive
        stream.receive_nowait = lambda self: _item(self.__wrapped__.receive_nowait())


async def _next(self: Any) -> Any:
    return _item(await self.__wrapped__.__anext__())


async def _receive(self: Any) -> Any:
    return _item(await self.__wrapped__.receive())


def _item(received: Any) -> Any:
    """The message without the context that a writer has put beside it."""
    return received.item if hasattr(received, "ctx") and hasattr(received, "item") else received


def _transport_wrapper(module: Any) -> Any:
    def transport_wrapper(_: object, tracer: Any) -> Any:
        @asynccontextmanager
        async def connected(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> AsyncIterator[Any]:  # noqa: ARG001
            async with wrapped(*args, **kwargs) as streams:
                given = streams
                try:
                    read, write, *others = streams
                    reader = module.InstrumentedStreamReader(read, tracer)
                    given = (reader, module.InstrumentedStreamWriter(write, tracer), *others)
                except Exception as error:
                    log_fault("mcp transport", error)
                yield given

        return connected

    return transport_wrapper


def _sending(send: Any) -> Any:
    """`send`, which records a message that is sent, isolated from the sending."""
    send = getattr(send, "__wrapped__", None) or _inner(send)
    arguments = arguments_for("send", _PACKAGES)

    async def sent(self: Any, item: Any) -> Any:
        def recorded(call: Any, copy: Any) -> Any:
            return send(SimpleNamespace(_tracer=self._tracer, __wrapped__=SimpleNamespace(send=call)), copy)

        read = functools.partial(copied, packages=_PACKAGES)
        call = GuardedCall(self.__wrapped__.send, (item,), {}, "mcp send", read)
        return await guarded(recorded, call, arguments)

    return sent


def _inner(function: Any) -> Any:
    """The function inside a decorator that does not name it."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    return cells["func"].cell_contents if "func" in cells else function


async def _received(self: Any) -> AsyncIterator[Any]:
    """The messages, each handled below the trace that it carries."""
    async for item in self.__wrapped__:
        context = None
        try:
            request: Any = getattr(getattr(item, "message", item), "root", None)
            if hasattr(request, "method") and hasattr(request, "id") and isinstance(request.params, dict):
                meta = request.params.get("_meta")
                context = _callers(meta) if isinstance(meta, dict) and meta else None
        except Exception as error:
            log_fault("mcp receive", error)
        token = None if context is None else otel_context.attach(context)
        try:
            yield item
        finally:
            if token is not None:
                detach(token)


def _callers(meta: dict[str, Any]) -> Context:
    """The context that a message carries, as far as its sender, whose address is not known, is believed."""
    from opentelemetry import propagate  # late: it raises for unknown names in OTEL_PROPAGATORS

    headers = [(name, default_getter.get(meta, name)) for name in propagation.SIGNED]
    return propagation.accepted(propagate.extract(meta), propagate.extract({}), headers, None)


async def _received_with_context(self: Any) -> AsyncIterator[Any]:
    """The messages, each handled in the context in which it was received."""
    async for received in self.__wrapped__:
        context = getattr(received, "ctx", None)
        token = None if context is None else otel_context.attach(context)
        try:
            yield received if context is None else received.item
        finally:
            if token is not None:
                detach(token)


async def _send_with_context(self: Any, item_with_context: Any, item: Any) -> Any:
    with suppress(Exception):
        item = item_with_context(item, otel_context.get_current())
    return await self.__wrapped__.send(item)
