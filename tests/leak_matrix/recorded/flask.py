"""flask, with OpenTelemetry's instrumentor: secrets in requests, unknown paths, failing views."""

from __future__ import annotations

from flask import Flask, Response, request

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case

RELEASES = ("flask", "opentelemetry-instrumentation-flask")
app = Flask(__name__)
planted: list[Planted] = []


def instrument() -> None:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    FlaskInstrumentor().instrument_app(app)


@app.post("/customers/<name>")
def customers(name: str) -> Response:
    if name.startswith("fail"):
        raise RuntimeError(f"{planted[-1]('error')} {request.url} {request.data!r}")
    return Response(planted[-1]("answer"))


def ask(c: Planted, path: str, method: str = "POST") -> None:
    planted.append(c)
    headers = {
        "authorization": f"Bearer {c.key('header')}",
        "cookie": f"session={c.word('cookie')}",
        "user-agent": c.word("agent"),
        "host": "shop.example",
    }
    query = f"token={c.key('query')}&q={c.word('query')}"
    app.test_client().open(f"{path}?{query}", method=method, headers=headers, data=c("body"))


@case()
def requests_with_secrets(c: Planted) -> None:
    ask(c, f"/customers/{c.word('path')}")


@case()
def views_that_fail(c: Planted) -> None:
    ask(c, f"/customers/fail-{c.word('path')}")


@case()
def paths_without_a_route(c: Planted) -> None:
    ask(c, f"/{c.word('path')}/{c.email('path')}")


@case()
def methods_of_the_caller(c: Planted) -> None:
    ask(c, f"/customers/{c.word('path')}", c.word("method").upper())
