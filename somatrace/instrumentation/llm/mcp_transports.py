"""Put the trace into the messages of MCP clients for servers that may receive it, and for no others.

MCP carries it in the body of a request (`params._meta`). The SDK (2.x), FastMCP and the instrumentor write it
for any server. What they write is withheld (`coexistence/propagators.py`); here, where the server is known,
it is written for those to which the same headers may go.

A session sends all requests from a task of its own, which has the tags of the code that has connected. Each
request of HTTP gets those of the code that makes it.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import context as otel_context

from somatrace import propagation, semconv
from somatrace.instrumentation.call_context import in_llm_call, uninstrumented
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method

log = logging.getLogger("somatrace")

#: The clients of servers with a URL, by module.
_REMOTE: Final = {
    "mcp.client.sse": ("sse_client",),
    "mcp.client.streamable_http": ("streamable_http_client", "streamablehttp_client"),
    "mcp.client.websocket": ("websocket_client",),
}
#: One request at a time, in one task for all, from which nothing leads to the code that makes it.
_WITHOUT_HEADERS: Final = ("sse_client",)
#: The methods that send one message of the other HTTP transport.
_SENDING: Final = ("_handle_post_request", "_handle_resumption_request")
_SNAPSHOT: Final = "_somatrace_snapshot"
_NAMES: Final = (semconv.HEADER_TRACEPARENT, semconv.HEADER_TRACESTATE, "baggage", semconv.HEADER_TAGS)


def install(coverage: Coverage) -> None:
    """Wait for the imports of the MCP clients."""
    for module, names in _REMOTE.items():
        when_imported(module, coverage, functools.partial(_wrap, names, _for_url), library="mcp client")
    wrap_child = functools.partial(_wrap, ("stdio_client",), _for_child)
    when_imported("mcp.client.stdio", coverage, wrap_child, library="mcp client")


def write_nothing(package: str) -> None:
    """Give the instrumentor a propagator that leaves its `traceparent` empty, which is then not sent.

    It reads the key right after it has injected it, and makes no span if it is missing.
    """
    module = sys.modules.get(f"{package}.instrumentation")
    if hasattr(module, "TraceContextTextMapPropagator"):
        module.TraceContextTextMapPropagator = _Nothing  # type: ignore[union-attr]


class _Nothing:
    def inject(self, carrier: dict[str, Any]) -> None:
        carrier[semconv.HEADER_TRACEPARENT] = None


def _wrap(names: tuple[str, ...], context_for: Callable[..., Any], module: ModuleType) -> None:
    transport = getattr(module, "StreamableHTTPTransport", None)
    for method in _SENDING:
        if hasattr(transport, method):
            wrap_method(transport, method, _as_its_sender)  # type: ignore[arg-type]
    for name in names:
        function = getattr(module, name, None)
        if function is not None:
            setattr(module, name, _connecting(function, context_for))


def _connecting(function: Any, context_for: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def connect(*args: Any, **kwargs: Any) -> Any:
        connection = function(*args, **kwargs)
        try:
            context = functools.partial(context_for, *args[:1], **kwargs)
            return _Connection(connection, context, headers=function.__name__ not in _WITHOUT_HEADERS)
        except Exception:
            log.debug("the messages of an MCP client are sent without its trace", exc_info=True)
            return connection

    return connect


async def _as_its_sender(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    request = args[0] if args else kwargs.get("ctx")
    snapshot = getattr(getattr(request, "session_message", None), _SNAPSHOT, None)
    if not isinstance(snapshot, propagation.ContextSnapshot):
        return await wrapped(*args, **kwargs)
    with snapshot.again():
        return await wrapped(*args, **kwargs)


def _for_url(url: object = "", **_: object) -> dict[str, str]:
    """What a server with a URL may receive: what its host may receive in headers, without the tags."""
    parts = urlsplit(str(url))
    port = parts.port or {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(parts.scheme)
    allowed = propagation.may_carry(parts.hostname or "", port)
    return propagation.trace_context(baggage=True) if allowed else {}


def _for_child(*_: object, **__: object) -> dict[str, str]:
    """What a child process may receive: the trace. Its code is often not the program's, so no baggage."""
    return propagation.trace_context(baggage=False)


class _Connection:
    """The connection of a client; its second stream is the one that sends."""

    def __init__(self, connection: Any, context: Callable[[], dict[str, str]], *, headers: bool) -> None:
        self._connection = connection
        self._context = context
        self._headers = headers

    async def __aenter__(self) -> Any:
        current = otel_context.get_current()
        token = otel_context.attach(current if self._headers else uninstrumented(current))
        try:  # the tasks of the connection start here
            streams = await self._connection.__aenter__()
        finally:
            otel_context.detach(token)
        if not isinstance(streams, tuple) or len(streams) < 2:
            return streams
        from somatrace.instrumentation.llm.mcp_sender import Sender

        return (streams[0], Sender(streams[1], self._prepare), *streams[2:])

    def _prepare(self, item: Any) -> None:
        """Put the trace into a message, and a snapshot of the code that sends it beside it."""
        try:
            _set_meta(item, self._context)
            setattr(item, _SNAPSHOT, propagation.ContextSnapshot())
        except Exception:
            log.debug("a message of an MCP client is left unchanged", exc_info=True)

    async def __aexit__(self, *error: object) -> Any:
        return await self._connection.__aexit__(*error)


def _set_meta(item: Any, context: Callable[[], dict[str, str]]) -> None:
    """Replace the trace in the message by the permitted one, none in a model call.

    Only requests have one, and they are new.
    """
    message = getattr(item, "message", item)
    request = getattr(message, "root", message)
    if not hasattr(request, "method") or not hasattr(request, "params"):
        return
    permitted = context() if hasattr(request, "id") and not in_llm_call() else {}
    params = request.params if isinstance(request.params, dict) else {}
    sent = params.get("_meta")
    before = sent if isinstance(sent, dict) else {}
    after = {**{name: value for name, value in before.items() if name not in _NAMES}, **permitted}
    if after != before:
        request.params = {**params, "_meta": after}
