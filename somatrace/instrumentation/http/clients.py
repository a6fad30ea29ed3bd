"""Instrument httpx (and its successor httpx2), requests and aiohttp at class level, so every client."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace

from somatrace.instrumentation.call_context import scope_name
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.http.client_span import ClientRequest, server_attributes, set_headers
from somatrace.instrumentation.import_hooks import when_imported, wrap_method

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def install(coverage: Coverage) -> None:
    """Wait for the imports of the HTTP clients."""
    for library in ("httpx", "httpx2"):
        when_imported(f"{library}._transports.default", coverage, _httpx(library))
    when_imported("requests.adapters", coverage, _requests)
    when_imported("aiohttp.client", coverage, _aiohttp)


def _httpx(library: str) -> Callable[[ModuleType], None]:
    """Wrap the transports, below redirects and auth flows: each hop is checked separately."""

    def send(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
        call = _httpx_call(library, args, kwargs)
        try:
            response = wrapped(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.responded(response.status_code)
        return response

    async def send_async(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
        call = _httpx_call(library, args, kwargs)
        try:
            response = await wrapped(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.responded(response.status_code)
        return response

    def wrap_transports(module: ModuleType) -> None:
        wrap_method(module.HTTPTransport, "handle_request", send)
        wrap_method(module.AsyncHTTPTransport, "handle_async_request", send_async)

    return wrap_transports


def _httpx_call(library: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ClientRequest:
    request = args[0] if args else kwargs.get("request")
    url = getattr(request, "url", None)
    host, port = str(getattr(url, "host", "")), getattr(url, "port", None)
    port = port or _PORTS.get(str(getattr(url, "scheme", "")))
    call = ClientRequest(library, getattr(request, "method", ""), host, port)
    call.set_headers(getattr(request, "headers", None), host, port)
    return call


def _requests(module: ModuleType) -> None:
    """Wrap the adapter, which gets each redirect as a separate request."""

    def send(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
        request = args[0] if args else kwargs.get("request")
        host, port = _split(getattr(request, "url", None))
        call = ClientRequest("requests", getattr(request, "method", ""), host, port)
        call.set_headers(getattr(request, "headers", None), host, port)
        try:
            response = wrapped(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.responded(response.status_code)
        return response

    wrap_method(module.HTTPAdapter, "send", send)


def _aiohttp(module: ModuleType) -> None:
    """One span per call of the session, which follows redirects; headers per request on the wire."""

    async def request(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
        call = ClientRequest("aiohttp", args[0] if args else kwargs.get("method", ""))
        try:
            response = await wrapped(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.responded(response.status)
        return response

    def send(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        url = getattr(instance, "url", None)
        host, port = getattr(url, "host", None) or "", getattr(url, "port", None)
        span = trace.get_current_span()
        if scope_name(span) == "somatrace.aiohttp":
            span.set_attributes(server_attributes(host, port))
        set_headers(instance.headers, host, port)
        return wrapped(*args, **kwargs)

    wrap_method(module.ClientSession, "_request", request)
    wrap_method(module.ClientRequest, "send", send)


def _split(url: object) -> tuple[str, int | None]:
    """Host and port of a URL. Both are empty for a malformed one, which the library will reject."""
    try:
        parts = urlsplit(str(url))
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", None
