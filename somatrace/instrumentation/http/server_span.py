"""One request to an ASGI app: its caller, its SERVER span, and the headers of the response."""

from __future__ import annotations

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
from somatrace.instrumentation.http.cancellation import is_cancellation
from somatrace.instrumentation.http.client_span import METHOD, METHODS, STATUS, error_type
from somatrace.instrumentation.http.starlette_middleware import has_tracing_middleware

log = logging.getLogger("somatrace")
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: The key of the request in its ASGI scope, so that mounted apps find it.
KEY: Final = "somatrace.request"
ROUTE: Final = semconv.HTTP_ROUTE
_TRACE_HEADERS: Final = (b"traceparent", b"tracestate", b"baggage")


class ServerRequest:
    """One request, from its arrival until the app has finished with it. No method raises."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._prefix = ""
        self._method = semconv.WEBSOCKET
        self._span: Span | None = None
        self._error = ""
        self._extracted: propagation.ExtractedScope | None = None
        self._caller = propagation.Caller()
        self._token: Any = None

    @classmethod
    def arrived(cls, app: Any, scope: Scope) -> ServerRequest | None:
        """The request, with its span and tags attached; None if it cannot be traced."""
        request = cls(scope)
        try:
            request._begin(app)
        except Exception:
            log.debug("a request is not traced", exc_info=True)
            request.over()
            return None
        return request

    def mounted(self, path: str) -> None:
        """Record that it was passed to the app mounted at `path`."""
        self._prefix += path

    def routed(self, path: str) -> None:
        """Name the span after its route, and with it a workflow without a name. This includes the span of
        another instrumentation, whose name may be the path itself."""
        try:
            span = trace.get_current_span() if self._span is None else self._span
            if getattr(span, "kind", None) is not SpanKind.SERVER:
                return
            route = self._prefix + path
            span.set_attribute(ROUTE, route)
            span.update_name(f"{self._method} {route}")
            state = state_of(span)
            if state is not None:
                state.set_route(route)
        except Exception:
            log.debug("the route of a request is not recorded", exc_info=True)

    def sending(self, send: Send) -> Send:
        """`send`, which also adds ids to the response headers and ends the span with the last body chunk."""

        async def send_and_end(message: MutableMapping[str, Any]) -> None:
            if message.get("type") == "http.response.start":
                message = self._with_ids(message)
            await send(message)
            if message.get("type") == "http.response.body" and not message.get("more_body", False):
                self._end()

        return send_and_end

    def failed(self, error: BaseException) -> None:
        """Record an exception of the app, which then propagates to the server."""
        if is_cancellation(error):
            if self._span is not None:
                self._span.set_attribute(semconv.OUTCOME, "cancelled")
        elif isinstance(error, Exception):
            self._error = error_type(error)

    def over(self) -> None:
        """End the request: the app and its background tasks have finished."""
        try:
            self.scope.pop(KEY, None)
            self._end()
            if self._token is not None:
                otel_context.detach(self._token)
            if self._extracted is not None:
                self._extracted.detach()
        except Exception:
            log.debug("the end of a request is not recorded", exc_info=True)

    def _begin(self, app: Any) -> None:
        """Attach the tags, and start the span unless another instrumentation makes it. The middleware of
        another instrumentation further inside gets only the trace headers that somatrace accepts."""
        around, inside = (
            in_third_party_server_span(),
            bool(getattr(app, "_is_instrumented_by_opentelemetry", False))
            or (self.scope["type"] == "http" and has_tracing_middleware(app)),
        )
        headers = self.scope.get("headers", ())
        if self.scope["type"] == "http":
            method = str(self.scope.get("method", "")).upper()
            self._method = method if method in METHODS else semconv.HTTP_OTHER
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
        elif self._caller.claimed is not None:
            trace.get_current_span().add_link(self._caller.claimed)
        self.scope[KEY] = self

    def _start(self) -> None:
        attributes: dict[str, Any] = {"url.scheme": str(self.scope.get("scheme", "http"))[:8]}
        if self.scope["type"] == "http":
            attributes[METHOD] = "_OTHER" if self._method == semconv.HTTP_OTHER else self._method
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

    def _with_ids(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        try:
            if self._span is not None:
                self._responded(message.get("status"))
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
            log.debug("a response is sent without ids", exc_info=True)
            return message

    def _responded(self, status: object) -> None:
        if self._span is None or not isinstance(status, int):
            return
        self._span.set_attribute(STATUS, status)
        if status >= 500:
            handled = sys.exc_info()[1]  # the error page is sent while the exception is being handled
            if handled is None or hasattr(handled, "status_code"):  # for an HTTPException, its status
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
