"""A WSGI program, with OpenTelemetry's middleware: secrets in requests, failing programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing

RELEASES = ("opentelemetry-instrumentation-wsgi",)


def ask(c: Planted, path: str, *, fails: bool = False) -> None:
    def program(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if fails:
            raise RuntimeError(f"{c('error')} {environ['PATH_INFO']}")
        start("200 OK", [("content-type", "text/plain"), ("x-customer", c.word("answer header"))])
        return [c("answer").encode()]

    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": f"token={c.key('query')}&q={c.word('query')}",
        "HTTP_AUTHORIZATION": f"Bearer {c.key('header')}",
        "HTTP_COOKIE": f"session={c.word('cookie')}",
        "HTTP_USER_AGENT": c.word("agent"),
        "HTTP_HOST": "shop.example",
    }
    setup_testing_defaults(environ)
    answer = OpenTelemetryMiddleware(program)(environ, lambda *_: None)
    list(answer)
    getattr(answer, "close", lambda: None)()


@case()
def requests_with_secrets(c: Planted) -> None:
    ask(c, f"/customers/{c.word('path')}/{c.email('path')}")


@case()
def programs_that_fail(c: Planted) -> None:
    with failing():
        ask(c, f"/customers/{c.word('path')}", fails=True)
