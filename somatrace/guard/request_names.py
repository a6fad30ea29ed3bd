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
_MESSAGES: Final = ("send", "receive")
_MESSAGE: Final = re.compile(r" ((?:http|websocket) (?:send|receive))\Z")
#: Names that are, or begin with, a method or a path.
_METHOD_OR_PATH: Final = re.compile(
    rf"/|(?:{'|'.join(sorted(semconv.HTTP_METHODS))}|{semconv.HTTP_OTHER}|_OTHER)(?: |\Z)"
)


class RequestName(NamedTuple):
    """The parts of a request's name: `GET /users/{id}`, `GET`, or `GET http send`."""

    method: str
    route: str = ""
    message: str = ""


def is_named_after_request(name: str) -> bool:
    """Whether a name is made of a request's method, path or address."""
    if _METHOD_OR_PATH.match(name):
        return True
    address = name.find("://")  # in the first word or after it
    return address >= 0 and name.count(" ", 0, address) < 2


def request_name(naming: Naming, *, own: bool) -> RequestName | None:
    """The name of a request; None for other spans, and for those that the program itself names (`own`)
    otherwise than after a request."""
    name, is_server, is_client = naming.name, naming.is_server, naming.is_client
    is_inner = not (is_server or is_client)
    if is_inner and not naming.is_http and not name.endswith(_MESSAGES):  # most spans
        return None
    named_after_request = is_named_after_request(name)
    first = name.partition(" ")[0]
    if is_inner and (message := _MESSAGE.search(name[-32:])) and (named_after_request or not own):
        return RequestName(first if first in semconv.HTTP_METHODS else "", "", message[1])
    if own:
        applies = naming.is_http and named_after_request and not is_client
    elif is_server:
        applies = naming.is_http or (named_after_request and not naming.is_rpc)
    elif is_client:
        applies = named_after_request and not naming.is_rpc and (naming.is_http or not name.startswith("/"))
    else:
        applies = naming.is_http and named_after_request
    return RequestName(_method(naming), naming.route) if applies else None


def _method(naming: Naming) -> str:
    if naming.is_websocket:
        return semconv.WEBSOCKET
    first, _, rest = naming.name.partition(" ")
    second = rest.partition(" ")[0] if first == semconv.HTTP_OTHER else ""
    for word in (naming.method.upper(), first, second):
        if word in semconv.HTTP_METHODS:
            return word
    return semconv.HTTP_OTHER
