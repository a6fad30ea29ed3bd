"""The local server as one ASGI application."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from somatrace import semconv
from somatrace.local.access.auth import Auth
from somatrace.local.access.keys import Keys
from somatrace.local.ingest.endpoints import IngestEndpoints
from somatrace.local.ingest.page_priority import PagePriority
from somatrace.local.ingest.refusals import Refusals
from somatrace.local.langfuse_api.endpoints import LangfuseApi
from somatrace.local.otlp.decode import Limits
from somatrace.local.store.store import Store
from somatrace.local.web.page_state import PageState
from somatrace.local.web.pages import Pages
from somatrace.local.web.render import Renderer
from somatrace.local.web.sign_in import SignInPages
from somatrace.local.web.trace_pages import TracePages

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def build(
    store: Store,
    keys: Keys,
    limits: Limits | None = None,
    hosts: Sequence[str] = LOOPBACK,
    *,
    refusals: Refusals | None = None,
    priority: PagePriority | None = None,
) -> Starlette:
    """Build the application over `store`. Requests with a Host header outside `hosts` are rejected.

    `refusals` and `priority` are shared with whatever else brings spans into the store.

    Without that check, a page on another site could reach this server by resolving its own host name to
    the loopback address (DNS rebinding).
    """
    auth = Auth(keys)
    limits = limits or Limits()
    refusals = refusals or Refusals()
    priority = priority or PagePriority()
    ingest = IngestEndpoints(store, auth, limits, refusals, priority)
    state = PageState(store, auth, refusals, priority)
    render = Renderer(state.header)
    return Starlette(
        routes=[
            Route(semconv.LANGFUSE_OTLP_PATH, ingest.traces, methods=["POST"]),
            Route("/v1/traces", ingest.traces, methods=["POST"]),
            Route("/api/public/otel/v1/metrics", ingest.metrics, methods=["POST"]),
            *LangfuseApi(store, auth).routes(),
            *SignInPages(auth, render).routes(),
            *Pages(state, render).routes(),
            *TracePages(state, render, limits).routes(),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "web" / "static")),
        ],
        middleware=[
            Middleware(_SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False),
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=6),
        ],
        exception_handlers={HTTPException: _refusal, ClientDisconnect: _gone, Exception: _failure},
    )


class _SecurityHeaders:
    """Adds the same security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


def _refusal(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "Not found", 405: "Method not allowed"}.get(status, "Bad request")
    headers = getattr(error, "headers", None)
    if request.url.path.startswith(("/api/", "/v1/")):
        return JSONResponse({"message": text}, status, headers)
    return PlainTextResponse(text, status, headers)


def _gone(request: Request, error: Exception) -> Response:
    # nobody reads it; without it, the server would log a traceback
    return Response(status_code=400)


def _failure(request: Request, error: Exception) -> Response:
    # the cause is only in the server's log, since it may contain span content
    return JSONResponse({"message": "Internal Server Error"}, 500)
