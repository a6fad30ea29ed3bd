"""Instrument httpx (and its successor httpx2), requests and aiohttp at class level, so every client."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urljoin

from opentelemetry import trace

from somatrace.config import Target
from somatrace.instrumentation.call_context import continued_llm_call, scope_name
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.http.client_span import ClientRequest, server_attributes
from somatrace.instrumentation.http.telemetry_requests import PORTS, set_target, split
from somatrace.instrumentation.http.wire_headers import Destination, copy_of, wire_headers
from somatrace.instrumentation.import_hooks import when_imported, wrap_method


def install(coverage: Coverage, target: Target) -> None:
    """Wait for the imports of the HTTP clients. Requests to `target` are not traced."""
    set_target(target)
    for library in ("httpx", "httpx2"):
        when_imported(f"{library}._transports.default", coverage, _httpx(library))
        when_imported(f"{library}._client", coverage, _httpx_clients, library=f"{library} client")
    when_imported("requests.adapters", coverage, _requests)
    when_imported("requests.sessions", coverage, _requests_sessions, library="requests session")
    when_imported("aiohttp.client", coverage, _aiohttp)


def _httpx(library: str) -> Callable[[ModuleType], None]:
    """Wrap the transports, below redirects and auth flows: each hop is checked separately."""

    def send(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:
        call, args, kwargs = _httpx_call(library, instance, args, kwargs)
        try:
            response = wrapped(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.responded(response.status_code)
        return response

    async def send_async(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:
        call, args, kwargs = _httpx_call(library, instance, args, kwargs)
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


def _httpx_clients(module: ModuleType) -> None:
    wrap_method(module.Client, "send", _marked)
    wrap_method(module.AsyncClient, "send", _marked_async)


def _requests_sessions(module: ModuleType) -> None:
    wrap_method(module.Session, "send", _marked)


def _marked(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    """Keep the mark of a model call, above the transports of the program."""
    with continued_llm_call():
        return wrapped(*args, **kwargs)


async def _marked_async(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    with continued_llm_call():
        return await wrapped(*args, **kwargs)


def _httpx_call(library: str, transport: object, args: Any, kwargs: Any) -> tuple[ClientRequest, Any, Any]:
    """The call, and the arguments with a request of its own."""
    request = args[0] if args else kwargs.get("request")
    url = getattr(request, "url", None)
    host, port, scheme, path = (getattr(url, name, None) for name in ("host", "port", "scheme", "path"))
    to = Destination(str(host or ""), port or PORTS.get(str(scheme)), str(scheme), _httpx_proxy(transport))
    call = ClientRequest(library, getattr(request, "method", ""), to.host, to.port, str(path or ""))
    return call, *_replaced(args, kwargs, request, copy_of(request, _raw(request), to))


def _raw(request: object) -> Any:
    return getattr(getattr(request, "headers", None), "raw", ())


def _httpx_proxy(transport: object) -> tuple[str, int | None] | None:
    url = getattr(getattr(transport, "_pool", None), "_proxy_url", None)
    if url is None:
        return None
    host = getattr(url, "host", b"")
    return host.decode("latin-1") if isinstance(host, bytes) else str(host), getattr(url, "port", None)


def _requests(module: ModuleType) -> None:
    """Wrap the adapter, which gets each redirect as a separate request."""

    def send(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
        request = args[0] if args else kwargs.get("request")
        url = getattr(request, "url", None)
        host, port, path = split(url)
        call = ClientRequest("requests", getattr(request, "method", ""), host, port, path)
        proxies = args[5] if len(args) > 5 else kwargs.get("proxies")
        proxy = _requests_proxy(module, url, proxies)
        to = Destination(host, port, str(url).partition(":")[0].lower(), proxy)
        copied = copy_of(request, _items(request), to)
        args, kwargs = _replaced(args, kwargs, request, copied)
        try:
            response = wrapped(*args, **kwargs)
        except BaseException as error:
            _refer_to(request, copied, error)
            call.failed(error)
            raise
        _refer_to(request, copied, response)
        call.responded(response.status_code)
        return response

    wrap_method(module.HTTPAdapter, "send", send)


def _items(request: object) -> Any:
    headers = getattr(request, "headers", None)
    return () if headers is None else headers.items()


def _requests_proxy(module: ModuleType, url: object, proxies: Any) -> tuple[str, int | None] | None:
    """The proxy of a request. An unreadable one counts as a proxy at no known host."""
    try:
        proxy = module.select_proxy(url, proxies)
    except Exception:
        return "", None
    if not proxy:
        return None
    host, port, _ = split(proxy if "://" in proxy else f"http://{proxy}")
    return host, port


def _refer_to(request: object, copied: object, result: Any) -> None:
    """Let a response or an error refer to the program's own request."""
    if copied is not request and getattr(result, "request", None) is copied:
        result.request = request


def _replaced(args: Any, kwargs: Any, request: object, copied: object) -> tuple[Any, Any]:
    """The arguments, with `copied` in place of `request`."""
    if copied is request:
        return args, kwargs
    return ((copied, *args[1:]), kwargs) if args else (args, {**kwargs, "request": copied})


def _aiohttp(module: ModuleType) -> None:
    """One span per call of the session, which follows redirects; headers per request on the wire."""

    async def request(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:
        url = _aiohttp_url(instance, args[1] if len(args) > 1 else kwargs.get("str_or_url"))
        call = ClientRequest("aiohttp", args[0] if args else kwargs.get("method", ""), *split(url))
        try:
            response = await wrapped(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.responded(response.status)
        return response

    async def send(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        to = _aiohttp_destination(instance)
        span = trace.get_current_span()
        if scope_name(span) == "somatrace.aiohttp":
            span.set_attributes(server_attributes(to.host, to.port))
        own = instance.headers
        headers = wire_headers(own.items(), to)
        if headers is None:
            return await wrapped(*args, **kwargs)
        # middlewares may send the same request again
        instance.headers = type(own)(headers)
        try:
            return await wrapped(*args, **kwargs)
        finally:
            instance.headers = own

    wrap_method(module.ClientSession, "_request", request)
    wrap_method(module.ClientRequest, "send", send)


def _aiohttp_url(session: object, url: object) -> str:
    """The URL of a request, which may be relative to the session's base URL."""
    base = getattr(session, "_base_url", None)
    try:
        return str(url) if base is None else urljoin(str(base), str(url))
    except ValueError:  # malformed, which the library will reject
        return ""


def _aiohttp_destination(request: Any) -> Destination:
    """The server that reads the headers: of a request for a tunnel, the proxy."""
    url, proxy = getattr(request, "url", None), getattr(request, "proxy", None)
    host, port = getattr(url, "host", None) or "", getattr(url, "port", None)
    if getattr(request, "method", "") == "CONNECT":
        return Destination("", None)
    through = None if proxy is None else (getattr(proxy, "host", None) or "", getattr(proxy, "port", None))
    return Destination(host, port, str(getattr(url, "scheme", "")), through)
