"""Authentication: programs by key pair, browsers by a one-time link and a session cookie."""

from __future__ import annotations

import base64
import binascii
import hmac
import threading
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from somatrace.local.access.keys import LINK, SESSION, SESSION_SECONDS, Keys

_MAX_USED: Final = 10_000


class Auth:
    """Checks requests against one set of keys. Error responses match Langfuse's."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def refuse_program(self, request: Request) -> Response | None:
        """The response for a request without the right key pair; None if access is granted."""
        header = request.headers.get("authorization")
        if not header:
            return _message(401, "No authorization header")
        scheme, _, credentials = header.partition(" ")
        credentials = credentials.strip()
        if scheme.lower() == "bearer" and _same(credentials, self._keys.public_key):
            return _message(403, "Access denied - insufficient permissions for this endpoint")
        if scheme.lower() == "basic" and self._is_pair(credentials):
            return None
        return _message(401, "Invalid credentials. Confirm that you've configured the correct host.")

    def refuse_browser(self, request: Request) -> bool:
        """Whether to reject a page request: it has no valid session, or another site triggered it.

        Cookies ignore ports (RFC 6265, 8.5), so a page on another local port could make the browser send
        ours. With a cookie, only same-origin requests and the user's own navigation are accepted.
        """
        site = request.headers.get("sec-fetch-site", "none")
        navigation = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not navigation:
            return True
        return not self._keys.verify(SESSION, request.cookies.get(cookie_name(request), ""))

    def open(self, request: Request, token: str, response: Response) -> bool:
        """Exchange a link's `token`, which works once, for a session cookie on `response`."""
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        if not self._keys.verify(LINK, token) or not self._first_use(token):
            return False
        response.set_cookie(
            cookie_name(request),
            self._keys.sign(SESSION, SESSION_SECONDS),
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
        )
        return True

    def _first_use(self, token: str) -> bool:
        with self._lock:
            now = time.time()
            self._used = {used: until for used, until in self._used.items() if until > now}
            if token in self._used or len(self._used) >= _MAX_USED:
                return False
            self._used[token] = float(token.partition(".")[0])
            return True

    def _is_pair(self, credentials: str) -> bool:
        try:
            given = base64.b64decode(credentials, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self._keys.public_key}:{self._keys.secret_key}".encode())


def link(keys: Keys, base_url: str, lifetime: float) -> str:
    """A link that opens the page once, at the server that runs with this object `keys`.

    The token follows `#`, so that no log or preview contains it.
    """
    return f"{base_url}/open#{keys.sign(LINK, lifetime)}"


def cookie_name(request: Request) -> str:
    """A cookie name per port, since browsers share cookies between the ports of a host."""
    return f"somatrace_{request.url.port or 80}"


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _message(status: int, text: str) -> Response:
    return JSONResponse({"message": text}, status)
