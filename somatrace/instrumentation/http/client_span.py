"""The CLIENT span of one outgoing HTTP request."""

from __future__ import annotations

import logging
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from somatrace import semconv
from somatrace.context.collector_safety import changing
from somatrace.instrumentation.call_context import in_http_span, in_llm_call, llm_call_in, without_http
from somatrace.instrumentation.http.cancellation import is_cancellation
from somatrace.instrumentation.http.telemetry_requests import is_telemetry

log = logging.getLogger("somatrace")

METHOD: Final = semconv.HTTP_METHOD
STATUS: Final = "http.response.status_code"
SERVER_PORT: Final = "server.port"
METHODS: Final = semconv.HTTP_METHODS


class ClientRequest:
    """One request of an instrumented client, from before it is sent until its response begins.

    The URL is never recorded: paths and queries contain ids and secrets. No method raises.
    """

    def __init__(
        self, library: str, method: object, host: str = "", port: int | None = None, path: str = ""
    ) -> None:
        self._span: Span | None = None
        self._token: Any = None
        try:
            self._start(library, str(method), host, port, path)
        except Exception:
            log.debug("%s: a request is not traced", library, exc_info=True)

    def responded(self, status: object) -> None:
        """End the span with the status of the response."""
        span = self._detach()
        if span is None:
            return
        if isinstance(status, int):
            span.set_attribute(STATUS, status)
            if status >= 400:
                span.set_attribute(semconv.ERROR_TYPE, str(status))
                span.set_status(StatusCode.ERROR)
        span.end()

    def failed(self, error: BaseException) -> None:
        """End the span with the type of an error. The error's text is not recorded."""
        span = self._detach()
        if span is None:
            return
        if is_cancellation(error):
            span.set_attribute(semconv.OUTCOME, "cancelled")
        else:
            span.set_attribute(semconv.ERROR_TYPE, error_type(error))
            span.set_status(StatusCode.ERROR)
        span.end()

    def _start(self, library: str, method: str, host: str, port: int | None, path: str) -> None:
        if in_llm_call():
            self._token = otel_context.attach(without_http(llm_call_in(otel_context.get_current())))
            return
        if is_telemetry(host, port, path):
            self._token = otel_context.attach(without_http(otel_context.get_current()))
            return
        if in_http_span():
            return
        known = method.upper() if method.upper() in METHODS else "_OTHER"
        self._span = trace.get_tracer(f"somatrace.{library}", semconv.VERSION).start_span(
            "HTTP" if known == "_OTHER" else known,
            kind=SpanKind.CLIENT,
            attributes={METHOD: known, **server_attributes(host, port)},
            record_exception=False,
            set_status_on_exception=False,
        )
        self._token = otel_context.attach(without_http(trace.set_span_in_context(self._span)))

    def _detach(self) -> Span | None:
        if self._token is not None:
            changing()
            otel_context.detach(self._token)
            self._token = None
        span, self._span = self._span, None
        return span


def server_attributes(host: str, port: int | None) -> dict[str, str | int]:
    """The span attributes for the server's address and port."""
    attributes: dict[str, str | int] = {semconv.SERVER_ADDRESS: host[:255]} if host else {}
    if port is not None:
        attributes[SERVER_PORT] = port
    return attributes


def error_type(error: BaseException) -> str:
    """The qualified name of an exception's class, for `error.type`."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
