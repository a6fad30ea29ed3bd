"""django, with OpenTelemetry's instrumentor: secrets in requests, unknown paths, failing views."""

from __future__ import annotations

import sys

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case

RELEASES = ("django", "opentelemetry-instrumentation-django")
planted: list[Planted] = []


def customers(request: HttpRequest, name: str) -> HttpResponse:
    if name.startswith("fail"):
        raise RuntimeError(f"{planted[-1]('error')} {request.get_full_path()} {request.body!r}")
    return HttpResponse(planted[-1]("answer"))


urlpatterns = [path("customers/<str:name>", customers)]


def instrument() -> None:
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=sys.modules[__name__], SECRET_KEY="none", MIDDLEWARE=[]
    )
    DjangoInstrumentor().instrument()
    django.setup()


def ask(c: Planted, where: str) -> None:
    planted.append(c)
    headers = {
        "authorization": f"Bearer {c.key('header')}",
        "cookie": f"session={c.word('cookie')}",
        "user-agent": c.word("agent"),
        "host": "shop.example",
    }
    client = Client(raise_request_exception=False)
    query = f"token={c.key('query')}&q={c.word('query')}"
    client.post(f"{where}?{query}", headers=headers, data=c("body"), content_type="text/plain")


@case()
def requests_with_secrets(c: Planted) -> None:
    ask(c, f"/customers/{c.word('path')}")


@case()
def views_that_fail(c: Planted) -> None:
    ask(c, f"/customers/fail-{c.word('path')}")


@case()
def paths_without_a_route(c: Planted) -> None:
    ask(c, f"/{c.word('path')}/{c.email('path')}")
