"""Endpoints of Langfuse's public API for reading observations and metrics back."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from somatrace.local.access.auth import Auth
from somatrace.local.langfuse_api import metrics, observations
from somatrace.local.langfuse_api.filters import QueryError
from somatrace.local.store.store import Store

_log = logging.getLogger("somatrace.local")

_BASE: Final = "/api/public"
#: these read tables that Langfuse 4 no longer fills
_GONE: Final = (
    "traces", "traces/{rest:path}", "observations", "observations/{rest:path}", "metrics", "metrics/daily",
    "sessions", "sessions/{rest:path}", "v2/scores", "v2/scores/{rest:path}", "scores/{rest:path}",
    "generations", "spans", "events",
)  # fmt: skip
_GONE_MESSAGE: Final = (
    "This endpoint is not available on deployments running in Langfuse v4 events_only mode. "
    "Learn more about Langfuse v4 at: https://langfuse.com/docs/v4"
)


class LangfuseApi:
    """Serves Langfuse's read calls from one store."""

    def __init__(self, store: Store, auth: Auth) -> None:
        self._store = store
        self._auth = auth

    def routes(self) -> list[BaseRoute]:
        return [
            Route(f"{_BASE}/health", self.health, methods=["GET"]),
            Route(f"{_BASE}/ready", self.ready, methods=["GET"]),
            Route(f"{_BASE}/projects", self.projects, methods=["GET"]),
            Route(f"{_BASE}/v2/observations", self.observations, methods=["GET"]),
            Route(f"{_BASE}/v2/metrics", self.metrics, methods=["GET"]),
            *(Route(f"{_BASE}/{path}", gone) for path in _GONE),
        ]

    def health(self, request: Request) -> Response:
        """Health check; `failIfDatabaseUnavailable=true` also checks that the store can be read."""
        if request.query_params.get("failIfDatabaseUnavailable") == "true":
            try:
                self._store.read(
                    lambda connection: connection.execute("SELECT 1 FROM spans LIMIT 1").fetchone()
                )
            except (sqlite3.Error, OSError):
                return JSONResponse({"status": "Database not available", "version": _version()}, 503)
        return JSONResponse({"status": "OK", "version": _version()})

    def ready(self, request: Request) -> Response:
        return JSONResponse({"status": "OK", "version": _version()})

    def projects(self, request: Request) -> Response:
        project = {
            "id": observations.PROJECT_ID,
            "name": "local",
            "organization": {"id": observations.PROJECT_ID, "name": "local"},
            "metadata": {},
        }
        return self._auth.refuse_program(request) or JSONResponse({"data": [project]})

    def observations(self, request: Request) -> Response:
        params = request.query_params

        def query() -> Callable[[sqlite3.Connection], Any]:
            parsed = observations.parse(params, params.getlist("environment"))
            return lambda connection: observations.select(connection, parsed)

        return self._answer(request, query)

    def metrics(self, request: Request) -> Response:
        def query() -> Callable[[sqlite3.Connection], Any]:
            parsed = metrics.parse(request.query_params.get("query", ""))
            return lambda connection: metrics.select(connection, parsed)

        return self._answer(request, query)

    def _answer(self, request: Request, parse: Callable[[], Callable[[sqlite3.Connection], Any]]) -> Response:
        if refusal := self._auth.refuse_program(request):
            return refusal
        try:
            return JSONResponse(self._store.read(parse()))
        except QueryError as error:
            return JSONResponse({"message": "Invalid request data", "error": [{"message": str(error)}]}, 400)
        except (sqlite3.Error, OSError) as error:
            _log.warning("could not read the local store: %s", error)
            return JSONResponse({"message": "Service Unavailable"}, 503)


def gone(request: Request) -> Response:
    """Langfuse 4's response for calls it no longer serves."""
    return JSONResponse({"message": _GONE_MESSAGE}, 404)


def _version() -> str:
    try:
        return f"somatrace-{version('somatrace')}"
    except PackageNotFoundError:
        return "somatrace"
