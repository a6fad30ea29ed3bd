"""Limits on the time and number of connections, which uvicorn only has for idle ones.

Time counts only while the server waits for a client: a handler may take as long as it needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, Scope


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections stay open, and how long the server waits for their clients."""

    #: over this number, the connection that has been waited for longest is closed
    connections: int = 128
    #: from the opening of a connection, or the last response on it, to the end of the next request's headers
    request_seconds: float = 10.0
    #: for the whole body of a request, and as long again for the client to read the response
    transfer_seconds: float = 60.0


def limited_protocol(given: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol class for the `http` setting of one uvicorn server.

    It is based on h11, which limits the size of headers; httptools does not.
    """

    class LimitedProtocol(_LimitedProtocol):
        limits = given
        opened: ClassVar[dict[_LimitedProtocol, None]] = {}

    return LimitedProtocol


class _Wait:
    """One wait for a client, which ends its connection when it takes too long."""

    __slots__ = ("since", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, seconds: float) -> None:
        self.since = loop.time()
        # not `close`, which waits for the client to read what was sent
        self.timer = loop.call_later(seconds, transport.abort)


class _LimitedProtocol(H11Protocol):
    limits: ClassVar[ConnectionLimits]
    opened: ClassVar[dict[_LimitedProtocol, None]]  # in the order in which they opened

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waits: set[_Wait] = set()
        self._request: _Wait | None = None
        self._handler = self.app
        self.app = self._handle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._make_room()
        self.opened[self] = None
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    async def _handle(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Run the application, with limits on the time that its client takes."""
        if self._request is not None:
            self._end(self._request)
            self._request = None
        upload = _Allowance(self)
        download = _Allowance(self)
        received = False
        answered = False

        async def limited_receive() -> ASGIReceiveEvent:
            nonlocal received
            # after the body, `receive` waits for the end of the connection, which is no wait for the client
            if received:
                return await receive()
            with upload.used():
                message = await receive()
            received = not message.get("more_body", False)
            return message

        async def limited_send(message: ASGISendEvent) -> None:
            nonlocal answered
            with download.used():
                await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered = True
                self._await_request()

        try:
            await self._handler(scope, limited_receive, limited_send)
        finally:
            if not answered:
                self._await_request()

    def _make_room(self) -> None:
        waiting = [protocol for protocol in self.opened if protocol._waits]
        if len(self.opened) < self.limits.connections or not waiting:
            return
        oldest = min(waiting, key=lambda protocol: min(wait.since for wait in protocol._waits))
        oldest.transport.abort()
        oldest._forget()
        # uvicorn counts it until the event loop has closed it
        self.connections.discard(oldest)

    def _await_request(self) -> None:
        self._request = self._begin(self.limits.request_seconds)

    def _begin(self, seconds: float) -> _Wait:
        wait = _Wait(self.loop, self.transport, seconds)
        if self in self.opened:
            self._waits.add(wait)
        else:
            wait.timer.cancel()
        return wait

    def _end(self, wait: _Wait) -> None:
        wait.timer.cancel()
        self._waits.discard(wait)

    def _forget(self) -> None:
        self.opened.pop(self, None)
        for wait in [*self._waits]:
            self._end(wait)


class _Allowance:
    """The time that a client may take in total for one direction of a request."""

    def __init__(self, protocol: _LimitedProtocol) -> None:
        self._protocol = protocol
        self._rest = protocol.limits.transfer_seconds

    @contextmanager
    def used(self) -> Iterator[None]:
        wait = self._protocol._begin(self._rest)
        try:
            yield
        finally:
            self._protocol._end(wait)
            self._rest -= self._protocol.loop.time() - wait.since
