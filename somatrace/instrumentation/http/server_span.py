"""One request to an ASGI app: who called, the SERVER span, and the answer's headers."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

from somatrace import propagation, semconv
from somatrace.context.span_state import state_of
from somatrace.instrumentation.call_context import in_third_party_server_span
from somatrace.instrumentation.http.client_span import METHOD, METHODS, STATUS, error_type

log = logging.getLogger("somatrace")
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Where the request lies in its ASGI scope, so that mounted apps find it.
KEY: Final = "somatrace.request"
ROUTE: Final = "http.route"
_TRACE_HEADERS: Final = (b"traceparent", b"tracestate", b"baggage")


class ServerRequest:
    """Lives from the arrival of a request until its answer is sent. No method raises."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._prefix = ""
        self._method = "WEBSOCKET"
        self._span: Span | None = None
        self._error = ""
        self._extracted: propagation.ExtractedScope | None = None
        self._caller = propagation.Caller()
        self._token: Any = None

    @classmethod
    def arrived(cls, app: Any, scope: Scope) -> ServerRequest | None:
        """The request, with its span and tags in force; None where it cannot be traced."""
        request = cls(scope)
        try:
            request._begin(app)
        except Exception:
            log.debug("a request is not traced", exc_info=True)
            request.over()
            return None
        return request

    def mounted(self, path: str) -> None:
        """It goes on to what is mounted at `path`."""
        self._prefix += path

    def routed(self, path: str) -> None:
        """The route is known: the span gets its name, and with it a workflow that nobody named. So does
        the span of another instrumentation, whose name may be the path itself."""
        try:
            span = trace.get_current_span() if self._span is None else self._span
            if getattr(span, "kind", None) is not SpanKind.SERVER:
                return
            route = self._prefix + path
            span.set_attribute(ROUTE, route)
            span.update_name(f"{self._method} {route}")
            state = state_of(span)
            if state is not None and state.root is state:
                state.root_name = f"{self._method} {route}"
        except Exception:
            log.debug("a route is not noted", exc_info=True)

    def sending(self, send: Send) -> Send:
        """`send`, with the ids in the answer's headers, and the span's end behind the last of the body."""

        async def send_on(message: MutableMapping[str, Any]) -> None:
            if message.get("type") == "http.response.start":
                message = self._starting(message)
            await send(message)
            if message.get("type") == "http.response.body" and not message.get("more_body", False):
                self._end()

        return send_on

    def failed(self, error: BaseException) -> None:
        """An exception came out of the app, and goes on to the server."""
        if isinstance(error, asyncio.CancelledError):
            if self._span is not None:
                self._span.set_attribute(semconv.OUTCOME, "cancelled")
        elif isinstance(error, Exception):
            self._error = error_type(error)

    def over(self) -> None:
        """The app is done with it, its background tasks included."""
        try:
            self.scope.pop(KEY, None)
            self._end()
            if self._token is not None:
                otel_context.detach(self._token)
            if self._extracted is not None:
                self._extracted.detach()
        except Exception:
            log.debug("the end of a request is not noted", exc_info=True)

    def _begin(self, app: Any) -> None:
        """Where another instrumentation makes the span, only the tags are ours; what a middleware of it
        further in reads of the trace headers is what we believe of them."""
        around, inside = (
            in_third_party_server_span(),
            bool(getattr(app, "_is_instrumented_by_opentelemetry", False)),
        )
        headers = self.scope.get("headers", ())
        if self.scope["type"] == "http":
            method = str(self.scope.get("method", "")).upper()
            self._method = method if method in METHODS else "HTTP"
        self._extracted = propagation.ExtractedScope(
            headers, self.scope.get("client"), join=not around and not inside
        )
        self._caller = self._extracted.attach()
        if inside and not around:
            kept = [pair for pair in headers if bytes(pair[0]).lower() not in _TRACE_HEADERS]
            kept += [(name.encode(), value.encode()) for name, value in self._extracted.trace_headers.items()]
            self.scope = {**self.scope, "headers": kept}
        elif not around:
            self._start()
        self.scope[KEY] = self

    def _start(self) -> None:
        attributes: dict[str, Any] = {"url.scheme": str(self.scope.get("scheme", "http"))[:8]}
        if self.scope["type"] == "http":
            attributes[METHOD] = "_OTHER" if self._method == "HTTP" else self._method
        else:
            attributes["network.protocol.name"] = "websocket"
        claimed = self._caller.claimed
        self._span = trace.get_tracer("somatrace.asgi", semconv.VERSION).start_span(
            self._method,
            kind=SpanKind.SERVER,
            attributes={**attributes, **self._caller.attributes},
            links=[Link(claimed)] if claimed is not None else None,
            record_exception=False,
            set_status_on_exception=False,
        )
        self._token = otel_context.attach(trace.set_span_in_context(self._span))

    def _starting(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        try:
            if self._span is not None:
                self._answered(message.get("status"))
            headers = list(message.get("headers", ()))
            present = {bytes(name).lower() for name, _ in headers}
            for header, value in (
                (semconv.HEADER_CORRELATION, self._caller.correlation_id),
                (semconv.HEADER_REQUEST, self._caller.request_id),
            ):
                if value and header.encode() not in present:
                    headers.append((header.encode(), value.encode("ascii")))
            return {**message, "headers": headers}
        except Exception:
            log.debug("an answer goes without ids", exc_info=True)
            return message

    def _answered(self, status: object) -> None:
        if self._span is None or not isinstance(status, int):
            return
        self._span.set_attribute(STATUS, status)
        if status >= 500:
            handled = sys.exc_info()[1]  # the error page is sent while the exception is being handled
            if handled is None or hasattr(handled, "status_code"):  # an HTTPException says what it says
                self._error = str(status)
            else:
                self._error = error_type(handled)

    def _end(self) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        if self._error:
            span.set_attribute(semconv.ERROR_TYPE, self._error)
            span.set_status(StatusCode.ERROR)
        span.end()
