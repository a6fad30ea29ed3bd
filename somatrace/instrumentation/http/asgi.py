"""Instrument Starlette and FastAPI at class level, so that apps created before `init_tracing` are covered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.http.server_span import KEY, ServerRequest
from somatrace.instrumentation.import_hooks import when_imported, wrap_method


def install(coverage: Coverage) -> None:
    """Wait for the imports of Starlette and FastAPI."""
    when_imported("starlette.applications", coverage, _applications)
    when_imported("starlette.routing", coverage, _routing, library="starlette routes")
    when_imported("fastapi.applications", coverage, _fastapi)
    when_imported("fastapi.routing", coverage, _fastapi_routing, library="fastapi routes")


def _applications(module: ModuleType) -> None:
    module.Starlette.__call__ = _serving(module.Starlette.__call__)


def _fastapi(module: ModuleType) -> None:
    """Wrap FastAPI itself: since 0.150 it makes its own request spans around Starlette's `__call__`."""
    module.FastAPI.__call__ = _serving(module.FastAPI.__call__, _disable_native_spans)


def _routing(module: ModuleType) -> None:
    wrap_method(module.Route, "handle", _handle)
    wrap_method(module.WebSocketRoute, "handle", _handle)
    wrap_method(module.Mount, "handle", _handle_mount)
    if not hasattr(module.Host, "path"):
        # OpenTelemetry's Starlette instrumentation takes the path of the request for that of the route else
        module.Host.path = ""


def _fastapi_routing(module: ModuleType) -> None:
    """Wrap FastAPI's routes: those of included routers bypass Starlette's `handle`."""
    if "handle" in vars(module.APIRoute):
        wrap_method(module.APIRoute, "handle", _handle)


def _serving(method: Any, before: Callable[[Any], None] = lambda _: None) -> Any:
    """`method` with one span per request, however many apps are mounted in one another.

    The parameters are kept: uvicorn calls an app without arguments to test whether it is a factory.
    """

    @functools.wraps(method)
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:  # noqa: N807 - the method's name
        before(self)
        request = None
        if scope.get("type") in ("http", "websocket") and KEY not in scope:
            request = ServerRequest.arrived(self, scope)
        if request is None:
            await method(self, scope, receive, send)
            return
        try:
            await method(self, request.scope, receive, request.sending(send))
        except BaseException as error:
            request.failed(error)
            raise
        finally:
            request.over()

    return __call__


async def _handle(wrapped: Any, route: Any, args: Any, kwargs: Any) -> None:
    request = _request_of(args)
    if request is not None:
        request.routed(_template(route, args[0]))
    await wrapped(*args, **kwargs)


async def _handle_mount(wrapped: Any, route: Any, args: Any, kwargs: Any) -> None:
    request = _request_of(args)
    if request is not None:
        request.mounted(str(getattr(route, "path", "")))
    await wrapped(*args, **kwargs)


def _request_of(args: tuple[Any, ...]) -> ServerRequest | None:
    return args[0].get(KEY) if args and isinstance(args[0], dict) else None


def _template(route: Any, scope: Any) -> str:
    """The route's path template, with the prefixes of the routers that include it."""
    fastapi = scope.get("fastapi")
    included = fastapi.get("effective_route_context") if isinstance(fastapi, dict) else None
    if included is not None and getattr(included, "original_route", None) is route:
        route = getattr(included, "starlette_route", None) or included
    return str(getattr(route, "path_format", None) or getattr(route, "path", ""))


def _disable_native_spans(app: Any) -> None:
    """Keep FastAPI from making spans with the global provider. Its metrics and logs stay.

    A provider that the program gave to the app stays as well.
    """
    native = getattr(app, "_telemetry", None)
    if isinstance(native, dict) and native.get("tracing") and native.get("tracer_provider") is None:
        native["tracing"] = False
