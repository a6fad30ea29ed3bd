"""Names of HTTP requests: the method, and the route template if there is one, never the path.

Several instrumentations put the path of a request into the name of its span, or a method that the client
has made up.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from somatrace import semconv
from somatrace.context.span_state import Naming

#: What OpenTelemetry's ASGI middleware appends to the name of its server span, for each message.
_MESSAGE: Final = re.compile(r" ((?:http|websocket) (?:send|receive))\Z")


class RequestName(NamedTuple):
    """The parts of a request's name: `GET /users/{id}`, `GET`, or `GET http send`."""

    method: str
    route: str = ""
    message: str = ""


def request_name(naming: Naming, *, own: bool) -> RequestName | None:
    """The name of a request; None for other spans, and for those that the program itself names (`own`)
    otherwise than after a request."""
    name = naming.name
    first, _, rest = name.partition(" ")
    named_after_request = (
        first in semconv.HTTP_METHODS
        or first in (semconv.HTTP_OTHER, "_OTHER")
        or name.startswith("/")
        or "://" in name
    )
    message = _MESSAGE.search(name[-32:])
    is_inner = not (naming.is_server or naming.is_client)
    if message is not None and is_inner and (named_after_request or not own):
        return RequestName(first if first in semconv.HTTP_METHODS else "", "", message[1])
    if own:
        if naming.is_client or not (naming.is_http and named_after_request):
            return None
        return RequestName(_method(naming, first, rest), naming.route)
    if naming.is_server:
        applies = naming.is_http or (named_after_request and not naming.is_rpc)
    elif naming.is_client:
        applies = named_after_request and not naming.is_rpc and (naming.is_http or not name.startswith("/"))
    else:
        applies = naming.is_http and named_after_request
    return RequestName(_method(naming, first, rest), naming.route) if applies else None


def _method(naming: Naming, first: str, rest: str) -> str:
    if naming.is_websocket:
        return semconv.WEBSOCKET
    second = rest.partition(" ")[0]
    for word in (naming.method.upper(), first, second if first == semconv.HTTP_OTHER else ""):
        if word in semconv.HTTP_METHODS:
            return word
    return semconv.HTTP_OTHER
