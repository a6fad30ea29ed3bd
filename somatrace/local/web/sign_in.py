"""Browser sign-in: the form, and the exchange of a link's token for the session cookie."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from somatrace.local.access.auth import Auth
from somatrace.local.web.render import Renderer

_MAX_FORM: Final = 4096


class SignInPages:
    """The only pages served without a cookie."""

    def __init__(self, auth: Auth, render: Renderer) -> None:
        self._auth = auth
        self._render = render

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/open", self.form, methods=["GET"]),
            Route("/open", self.open, methods=["POST"]),
        ]

    def form(self, request: Request) -> Response:
        return self._render.part("open.html", failed=False)

    async def open(self, request: Request) -> Response:
        """Exchange a link's token for the cookie."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MAX_FORM:
                return self._render.part("open.html", 413, failed=True)
        token = parse_qs(body.decode("ascii", "replace")).get("token", [""])[0]
        response = RedirectResponse("/", 303)
        return (
            response
            if self._auth.open(request, token, response)
            else self._render.part("open.html", 403, failed=True)
        )
