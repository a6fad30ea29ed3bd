"""Requests are named by method and route, whichever instrumentation makes their spans; never by their path.

The recorded spans are those of OpenTelemetry's own instrumentations (`recordings/record_server_spans.py`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from somatrace import bind, span
from somatrace.testing import Captured, capture
from tests.instrumentation.http.recordings.record_server_spans import PLANTED
from tests.support.web import serving

_REASON = "OpenTelemetry's ASGI instrumentation is not installed in this environment"
pytest.importorskip("opentelemetry.instrumentation.asgi", reason=_REASON)

with capture():
    from fastapi import FastAPI
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from starlette.responses import PlainTextResponse
    from starlette.routing import Host, Route, Router

RECORDED = json.loads((Path(__file__).parent / "recordings" / "server_spans.json").read_text())
SPANS = [
    pytest.param(made, id=f"{framework}-{number}")
    for framework, recording in RECORDED.items()
    for number, made in enumerate(recording["spans"])
]
#: What the server spans of each framework are called. Tornado's has no attribute for its route.
NAMES = {
    "wsgi": {"GET", "HTTP"},
    "flask": {"GET /users/<name>", "GET", "HTTP"},
    "django": {"GET users/<slug:name>", "GET", "HTTP users/<slug:name>"},
    "falcon": {"GET /users/{name}", "GET", "HTTP /users/{name}"},
    "pyramid": {"GET /users/{name}", "GET", "HTTP /users/{name}"},
    "tornado": {"GET"},
    "aiohttp_server": {"GET /users/{name}", "GET"},
    "asgi": {"GET", "HTTP", "WEBSOCKET"},
    "starlette": {"GET /users/{name}", "GET", "HTTP /users/{name}", "WEBSOCKET /rooms/{name}", "WEBSOCKET"},
    "fastapi": {"GET /users/{name}", "GET", "HTTP /users/{name}", "WEBSOCKET"},
    "grpc": {"/users.Users/Get"},
}


def replay(made: dict[str, Any], **options: Any) -> None:
    """Make the recorded span again, with a span of the program inside."""
    started, ended = made["started"], made["ended"]
    replayed = trace.get_tracer(made["scope"]).start_span(
        started["name"], kind=SpanKind[made["kind"]], attributes=started["attributes"], **options
    )
    with trace.use_span(replayed, end_on_exit=True), span("work"):
        replayed.set_attributes(ended["attributes"])
        replayed.update_name(ended["name"])


def everything(seen: Captured) -> str:
    """All that the exporter and listeners receive."""
    return (seen.bytes.decode("utf-8", "replace") + repr(seen.records)).casefold()


@pytest.mark.parametrize("made", SPANS)
def test_the_path_of_a_request_is_in_no_part_of_a_recorded_span(made: dict[str, Any]) -> None:
    with capture() as seen:
        replay(made)

    assert len(seen.spans) == 2
    assert PLANTED not in everything(seen)


@pytest.mark.parametrize("framework", NAMES)
def test_server_spans_are_named_by_method_and_route(framework: str) -> None:
    servers = [made for made in RECORDED[framework]["spans"] if made["kind"] == "SERVER"]

    with capture() as seen:
        for made in servers:
            replay(made)

    named = [found for found in seen.spans if found.kind is SpanKind.SERVER]
    assert len(named) == len(servers)
    assert {found.name for found in named} == NAMES[framework]


@pytest.mark.parametrize("framework", [name for name in NAMES if name != "grpc"])
def test_the_workflow_of_a_request_is_the_name_of_its_span(framework: str) -> None:
    with capture() as seen:
        for made in RECORDED[framework]["spans"]:
            if made["kind"] == "SERVER":
                replay(made)

    for found in (found for found in seen.spans if found.kind is SpanKind.SERVER):
        assert found.attributes["workflow_name"] == found.name
        assert found.attributes["langfuse.trace.name"] == found.name
        assert f"workflow:{found.name}" in found.attributes["langfuse.trace.tags"]


def test_requests_without_a_route_do_not_use_up_the_names_of_routes_and_workflows() -> None:
    tracer = trace.get_tracer("opentelemetry.instrumentation.wsgi")

    with capture() as seen:
        for number in range(300):
            attributes = {"http.method": "GET"}
            tracer.start_span(f"GET /scan/{number}", kind=SpanKind.SERVER, attributes=attributes).end()
            trace.get_tracer("unknown").start_span(f"probe{number}").end()
        routed = {"http.method": "GET", "http.route": "/orders/{id}"}
        tracer.start_span("GET /orders/{id}", kind=SpanKind.SERVER, attributes=routed).end()
        with trace.get_tracer(__name__).start_as_current_span("nightly report"):
            pass
        with span("answer questions", kind="workflow"):
            pass

    workflows = [found.attributes["workflow_name"] for found in seen.spans[-3:]]
    assert workflows == ["GET /orders/{id}", "nightly report", "answer questions"]


def test_more_than_200_routes_of_a_program_keep_their_names() -> None:
    tracer = trace.get_tracer("opentelemetry.instrumentation.flask")
    routes = [f"/part{number}/<int:id>" for number in range(300)]

    with capture() as seen:
        for route in routes:
            attributes = {"http.method": "GET", "http.route": route}
            tracer.start_span(f"GET {route}", kind=SpanKind.SERVER, attributes=attributes).end()

    assert [found.name for found in seen.spans] == [f"GET {route}" for route in routes]


def test_a_route_that_holds_content_leaves_only_the_method() -> None:
    attributes = {"http.request.method": "POST", "http.route": "/please call Ada/ada@example.com"}

    with capture() as seen:
        tracer = trace.get_tracer("opentelemetry.instrumentation.flask")
        tracer.start_span("POST x", kind=SpanKind.SERVER, attributes=attributes).end()

    assert seen.spans[0].name == "POST"


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("HTTP GET http://example.com/users/ada", {}, "GET"),
        ("GET https://example.com/users/ada", {"http.method": "GET"}, "GET"),
        ("GET /users/ada", {"http.request.method": "GET"}, "GET"),
        ("https://example.com/users/ada", {"http.request.method": "PUT"}, "PUT"),
        ("GET /users/{id}", {"http.request.method": "GET", "url.template": "/users/{id}"}, "GET /users/{id}"),
        ("ADA /users", {"http.request.method": "_OTHER", "url.full": "http://x/ada"}, "some.client.span"),
        ("/users.Users/Get", {"rpc.system": "grpc"}, "/users.Users/Get"),
    ],
)
def test_client_spans_of_libraries_hold_no_address(name: str, attributes: Any, expected: str) -> None:
    with capture() as seen:
        trace.get_tracer("some.client").start_span(name, kind=SpanKind.CLIENT, attributes=attributes).end()

    assert seen.spans[0].name == expected


def test_the_programs_own_tracer_in_a_middleware_does_not_let_paths_out() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    with capture() as seen:
        wrapped = OpenTelemetryMiddleware(app, tracer=trace.get_tracer(__name__))
        with serving(wrapped) as url:
            httpx.get(f"{url}/customers/{PLANTED}")

    assert [found.name for found in seen.spans if found.kind is SpanKind.SERVER] == ["GET"]
    assert PLANTED not in everything(seen)


def test_bare_asgi_apps_under_opentelemetrys_middleware_are_named_by_the_method() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with bind(tenant_id="acme"), span("inner"):
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    with capture() as seen, serving(OpenTelemetryMiddleware(app)) as url:
        httpx.get(f"{url}/customers/{PLANTED}")

    assert {found.name for found in seen.spans} == {"GET", "GET http send", "inner"}
    assert PLANTED not in everything(seen)


def test_fastapi_under_opentelemetrys_instrumentation_is_named_by_its_routes_only() -> None:
    app = FastAPI()

    @app.get("/users/{name}")
    async def users(name: str) -> str:
        return "hello"

    with capture() as seen:
        FastAPIInstrumentor.instrument_app(app)
        with serving(app) as url:
            httpx.get(f"{url}/users/{PLANTED}")
            httpx.get(f"{url}/nowhere/{PLANTED}")

    servers = [found.name for found in seen.spans if found.kind is SpanKind.SERVER]
    assert servers == ["GET /users/{name}", "GET"]
    assert PLANTED not in everything(seen)


def test_apps_chosen_by_host_are_named_by_their_routes_only() -> None:
    async def users(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = FastAPI()
    app.router.routes.append(Host("127.0.0.1", Router([Route("/users/{name}", users)])))

    with capture() as seen:
        FastAPIInstrumentor.instrument_app(app)
        with serving(app) as url:
            httpx.get(f"{url}/users/{PLANTED}")
            httpx.get(f"{url}/nowhere/{PLANTED}")

    servers = [found.name for found in seen.spans if found.kind is SpanKind.SERVER]
    assert servers == ["GET /users/{name}", "GET"]
    assert PLANTED not in everything(seen)


def test_a_route_of_a_host_has_no_path_that_could_be_mistaken_for_the_requests() -> None:
    """OpenTelemetry's Starlette instrumentation reads `path`, and else the request path."""
    assert Host("example.com", Router()).path == ""
