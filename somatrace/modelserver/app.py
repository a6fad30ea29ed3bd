"""The model server as a Starlette application."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from somatrace.modelserver import chat, embeddings, models, responses
from somatrace.modelserver.protocol import ApiError, EventStream, Fields, json_response, read_body
from somatrace.modelserver.served import ServedCalls

_HOSTS = ["127.0.0.1", "localhost"]
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    *, api_key: str | None = None, slow_seconds: float = 1.0, served: ServedCalls | None = None
) -> Starlette:
    """Create the application; with `api_key` it requires that key as a bearer token.

    `slow_seconds` is the delay of the model `local-extractive-slow`. `served` gets each call with a model.
    Only requests for a loopback host are served, so that a web page cannot reach the server through a name
    that resolves to it.
    """
    server = _Server(api_key, slow_seconds, served)
    routes = [
        Route("/v1/models", server.guarded(server.models)),
        Route("/v1/models/{name}", server.guarded(server.model)),
        Route("/v1/chat/completions", server.guarded(server.chat), methods=["POST"]),
        Route("/v1/embeddings", server.guarded(server.embeddings), methods=["POST"]),
        Route("/v1/responses", server.guarded(server.responses), methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
    )


class _Server:
    def __init__(self, api_key: str | None, slow_seconds: float, served: ServedCalls | None) -> None:
        self._api_key = api_key
        self._slow_seconds = slow_seconds
        self._served = served

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        async def call(request: Request) -> Response:
            try:
                self._authorize(request)
                answer = await endpoint(request)
            except ApiError as error:
                answer = error.response()
            if self._served is not None and hasattr(request.state, "asked"):
                self._served.add(request.state.asked, answer)
            return answer

        return call

    @staticmethod
    async def _asked(request: Request) -> Fields:
        fields = await read_body(request)
        request.state.asked = fields.values
        return fields

    def _authorize(self, request: Request) -> None:
        if self._api_key is None:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        matches = hmac.compare_digest(key.strip().encode(), self._api_key.encode())
        if scheme.lower() != "bearer" or not matches:
            # do not repeat the key: error messages end up in logs and traces
            raise ApiError(401, "Incorrect API key provided.", code="invalid_api_key")

    async def models(self, _: Request) -> Response:
        return json_response(models.listing())

    async def model(self, request: Request) -> Response:
        return json_response(models.description(request.path_params["name"]))

    async def chat(self, request: Request) -> Response:
        fields = await self._asked(request)
        manner = await models.manner(fields.text("model"), self._slow_seconds)
        chat.check(fields)
        asked = chat.task(fields)
        if not fields.flag("stream"):
            return json_response(chat.completion(fields, asked))
        events = list(chat.chunks(fields, asked))
        return EventStream(events, pause=manner.pause, broken_after=manner.broken_after)

    async def embeddings(self, request: Request) -> Response:
        fields = await self._asked(request)
        await models.manner(fields.text("model"), self._slow_seconds)
        return json_response(embeddings.embeddings(fields))

    async def responses(self, request: Request) -> Response:
        fields = await self._asked(request)
        manner = await models.manner(fields.text("model"), self._slow_seconds)
        asked = responses.task(fields)
        if not fields.flag("stream"):
            return json_response(responses.response(fields, asked))
        events = list(responses.events(fields, asked))
        return EventStream(events, pause=manner.pause, broken_after=manner.broken_after)


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return ApiError(status, f"Invalid URL ({request.method} {request.url.path[:200]})").response()


def _server_error(_: Request, __: Exception) -> Response:
    return ApiError(500, "The server had an error.").response()
