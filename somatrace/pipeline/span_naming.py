"""Collect what the name of a span is decided from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from somatrace import semconv
from somatrace.context.span_state import Naming

#: Attributes of HTTP requests besides the method, in the current conventions and the ones before.
_REQUEST: Final = ("url.scheme", "http.scheme", "url.path", "http.target", "url.full", "http.url")
_WEBSOCKET: Final = ("ws", "wss")
_RPC: Final = ("rpc.system", "rpc.system.name", "rpc.service")


def naming_of(span: ReadableSpan) -> Naming:
    """A span's name and the parts that decide whether it may leave. Never raises."""
    try:
        return _naming_of(span)
    except Exception:  # attributes may be any objects
        return Naming("", span.instrumentation_scope)


def _naming_of(span: ReadableSpan) -> Naming:
    given: Any = getattr(span, "_attributes", None) or {}
    # the SDK's mapping is written in Python, and slow
    attributes: Mapping[str, Any] = getattr(given, "_dict", given)
    name = str.__str__(span.name)  # a subclass may override hashing and comparison
    get = attributes.get
    method = get(semconv.HTTP_METHOD) or get(semconv.HTTP_METHOD_BEFORE)
    is_client = span.kind is SpanKind.CLIENT
    route = get(semconv.URL_TEMPLATE if is_client else semconv.HTTP_ROUTE)
    return Naming(
        name,
        span.instrumentation_scope,
        span.kind is SpanKind.SERVER,
        is_client,
        method is not None or any(key in attributes for key in _REQUEST),
        method if type(method) is str else "",
        route if type(route) is str else "",
        (get("url.scheme") or get("http.scheme")) in _WEBSOCKET
        or get("network.protocol.name") == "websocket",
        any(key in attributes for key in _RPC),
    )
