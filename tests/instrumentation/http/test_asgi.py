"""Each request to a Starlette or FastAPI app is one span, named by its route, with its caller's tags."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from somatrace import bind, bound, propagation, span
from somatrace.config import Settings
from somatrace.testing import capture
from tests.support.web import serving

with capture():  # apps created before `init_tracing` are tested as processes (test_services.py)
    from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Mount, Route, WebSocketRoute

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@pytest.fixture
def rules():
    def configure(**settings: object) -> None:
        propagation.configure(Settings(**settings))

    yield configure
    configure()


def get(app, path: str, seen=None, **options):
    with serving(app) as url, httpx.Client(base_url=url) as client:
        return client.request(options.pop("method", "GET"), path, **options)


def server_spans(seen):
    return [found for found in seen.spans if found.kind is SpanKind.SERVER]


def test_a_request_is_one_server_span_named_by_its_route_not_its_path() -> None:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: str) -> dict[str, object]:
        with span("inner"):
            return dict(bound())

    with capture() as seen:
        answer = get(app, "/items/secret-4711?q=secret-q")
    (served,) = server_spans(seen)
    assert served.name == "GET /items/{item}"
    assert served.attributes["http.route"] == "/items/{item}"
    assert served.attributes["http.request.method"] == "GET"
    assert served.attributes["http.response.status_code"] == 200
    assert served.status.status_code is StatusCode.UNSET
    assert seen.named("inner").parent.span_id == served.context.span_id
    assert seen.named("inner").attributes["workflow_name"] == "GET /items/{item}"
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]
    assert b"secret" not in seen.bytes


def test_routes_of_routers_and_mounted_apps_have_their_full_template_and_one_span() -> None:
    inner = FastAPI()
    router = APIRouter(prefix="/orgs/{org}")

    @router.get("/users/{user}")
    def user(org: str, user: str) -> str:
        return org + user

    nested = APIRouter(prefix="/v1")
    nested.include_router(router)
    inner.include_router(nested)
    outer = Starlette(routes=[Mount("/api/{tier}", app=inner)])
    with capture() as seen:
        assert get(outer, "/api/gold/v1/orgs/acme/users/7").json() == "acme7"
    (served,) = server_spans(seen)
    assert served.name == "GET /api/{tier}/v1/orgs/{org}/users/{user}"


def test_a_request_without_a_route_is_named_by_its_method() -> None:
    with capture() as seen:
        assert get(Starlette(), "/no/such/secret").status_code == 404
        assert get(Starlette(), "/", method="PROPFIND").status_code == 404
    assert sorted(found.name for found in server_spans(seen)) == ["GET", "HTTP"]


def test_an_exception_propagates_unchanged_and_its_text_is_not_recorded() -> None:
    caught = []

    class Outermost:
        def __init__(self, app) -> None:
            self.app = app

        async def __call__(self, scope, receive, send) -> None:
            try:
                await self.app(scope, receive, send)
            except Exception as error:
                caught.append(error)

    failure = LookupError("secret text")

    def fails(request) -> None:
        raise failure

    with capture() as seen:
        assert get(Outermost(Starlette(routes=[Route("/fails", fails)])), "/fails").status_code == 500
    (served,) = server_spans(seen)
    assert caught == [failure]
    assert served.attributes["error.type"] == "LookupError"
    assert served.status.status_code is StatusCode.ERROR
    assert b"secret" not in seen.bytes


def test_responses_from_500_on_are_errors() -> None:
    def answer(request):
        return PlainTextResponse("", status_code=int(request.path_params["code"]))

    with capture() as seen:
        for code in (404, 503):
            get(Starlette(routes=[Route("/{code}", answer)]), f"/{code}")
    errors = {
        found.attributes["http.response.status_code"]: found.attributes.get("error.type")
        for found in server_spans(seen)
    }
    assert errors == {404: None, 503: "503"}


def test_a_streamed_body_is_sent_inside_the_span_with_its_tags() -> None:
    async def body():
        for number in range(3):
            with span(f"piece {number}"):
                yield json.dumps(bound().get("correlation_id")) + "\n"
            await asyncio.sleep(0.01)

    with capture() as seen:
        answer = get(
            Starlette(routes=[Route("/stream", lambda request: StreamingResponse(body()))]), "/stream"
        )
    (served,) = server_spans(seen)
    assert {json.loads(line) for line in answer.text.splitlines()} == {answer.headers["x-correlation-id"]}
    for number in range(3):
        piece = seen.named(f"piece {number}")
        assert piece.parent.span_id == served.context.span_id
        assert piece.end_time <= served.end_time


def test_background_tasks_keep_the_tags_and_do_not_extend_the_request() -> None:
    app, done = FastAPI(), threading.Event()

    def later() -> None:
        time.sleep(0.05)
        with span("later"):
            done.set()

    @app.post("/jobs")
    async def job(tasks: BackgroundTasks) -> str:
        tasks.add_task(later)
        return str(bound()["correlation_id"])

    with capture() as seen:
        answer = get(app, "/jobs", method="POST")
        assert done.wait(60)
    (served,) = server_spans(seen)
    assert seen.named("later").attributes["correlation_id"] == answer.json()
    assert seen.named("later").context.trace_id == served.context.trace_id
    assert served.end_time < seen.named("later").start_time


def test_sync_handlers_dependencies_and_middleware_share_the_requests_tags() -> None:
    app, seen_ids = FastAPI(), []

    async def note(request, call_next):
        seen_ids.append(bound()["correlation_id"])
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=note)

    def dependency() -> None:
        seen_ids.append(bound()["correlation_id"])

    @app.get("/", dependencies=[Depends(dependency)])
    def handler() -> object:
        with bind(tenant_id="acme"), span("sync work"):
            seen_ids.append(bound()["correlation_id"])
        return None

    with capture() as seen:
        answer = get(app, "/")
    assert set(seen_ids) == {answer.headers["x-correlation-id"]}
    assert len(seen_ids) == 3
    assert seen.named("sync work").attributes["tenant_id"] == "acme"
    assert server_spans(seen)[0].attributes["tenant_id"] == "acme"


def test_a_header_set_by_the_app_is_kept() -> None:
    def handler(request):
        return PlainTextResponse("", headers={"X-Correlation-ID": "its own"})

    with capture():
        answer = get(Starlette(routes=[Route("/", handler)]), "/")
    assert answer.headers.get_list("x-correlation-id") == ["its own"]


def test_a_websocket_is_one_span_over_its_lifetime() -> None:
    from websockets.sync.client import connect

    app = FastAPI()

    @app.websocket("/ws/{room}")
    async def room(socket: WebSocket, room: str) -> None:
        await socket.accept()
        with span("said"):
            await socket.send_text(await socket.receive_text())
        await socket.close()

    with (
        capture() as seen,
        serving(app) as url,
        connect(url.replace("http", "ws") + "/ws/secret-room") as client,
    ):
        client.send("hello")
        assert client.recv() == "hello"
    (served,) = server_spans(seen)
    assert served.name == "WEBSOCKET /ws/{room}"
    assert seen.named("said").parent.span_id == served.context.span_id


def test_work_without_a_tenant_in_a_request_gets_none_of_its_other_tenants() -> None:
    app = FastAPI()
    received: list[str | None] = []

    @app.get("/inner")
    async def inner(request: Request) -> None:
        received.append(request.headers.get("x-somatrace-tags"))

    @app.get("/jobs")
    async def jobs(request: Request) -> None:
        async with httpx.AsyncClient(base_url=str(request.base_url)) as client:
            with bind(tenant_id="acme"), span("hers"):
                pass
            with bind(tenant_id="globex"), bind(tenant_id=None, correlation_id=None):
                with span("nobody's"):
                    await client.get("/inner")
                await asyncio.gather(
                    asyncio.to_thread(_span, "threaded"), asyncio.create_task(_awaited("task"))
                )

    with capture() as seen:
        get(app, "/jobs")
    tenants = {found.name: found.attributes["tenant_id"] for found in seen.spans}
    assert {tenants[name] for name in ("nobody's", "threaded", "task")} == {"unknown"}
    assert (tenants["hers"], tenants["GET /jobs"]) == ("acme", "several")
    assert received == [None]


def _span(name: str) -> None:
    with span(name):
        pass


async def _awaited(name: str) -> None:
    await asyncio.sleep(0)
    _span(name)


def test_concurrent_requests_do_not_mix() -> None:
    app = FastAPI()

    @app.get("/{tenant}")
    async def handler(tenant: str) -> list[object]:
        with bind(tenant_id=tenant):
            await asyncio.sleep(0.01)
            with span(f"work of {tenant}"):
                await asyncio.to_thread(lambda: span("threaded").__enter__().end())
            return [bound()["tenant_id"], bound()["correlation_id"]]

    async def all_at_once(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url) as client:
            return await asyncio.gather(*(client.get(f"/tenant-{number}") for number in range(20)))

    with capture() as seen, serving(app) as url:
        answers = asyncio.run(all_at_once(url))
    for number, answer in enumerate(answers):
        assert answer.json() == [f"tenant-{number}", answer.headers["x-correlation-id"]]
        work = seen.named(f"work of tenant-{number}")
        assert work.attributes["tenant_id"] == f"tenant-{number}"
        assert work.attributes["correlation_id"] == answer.json()[1]
    assert len({answer.json()[1] for answer in answers}) == 20


def test_an_untrusted_caller_sets_no_tags_or_sampling_and_its_id_is_recorded_separately(rules) -> None:
    rules(trust=("10.0.0.0/8",))
    app = Starlette(routes=[Route("/", lambda request: JSONResponse(dict(bound())))])
    sent = {
        "traceparent": TRACE,
        "x-correlation-id": "theirs",
        "x-somatrace-tags": "1;eyJiIjp7InRlbmFudF9pZCI6ImEifX0",
    }
    with capture() as seen, serving(app) as url:
        answer = _raw(url, sent)
    (served,) = server_spans(seen)
    assert served.attributes["client.correlation_id"] == "theirs"
    assert served.attributes["tenant_id"] == "unknown"
    assert format(served.context.trace_id, "032x") == TRACE[3:35]
    assert answer.headers["x-correlation-id"] == served.attributes["correlation_id"] != "theirs"


def test_a_trusted_hop_continues_trace_and_tags(rules) -> None:
    rules(trust=("127.0.0.0/8",))
    app = Starlette(routes=[Route("/", lambda request: JSONResponse(dict(bound())))])
    with (
        capture() as seen,
        serving(app) as url,
        bind(tenant_id="acme", request_id="r1"),
        span("call", kind="workflow"),
    ):
        answer = httpx.get(url)
    (served,) = server_spans(seen)
    (client,) = [found for found in seen.spans if found.kind is SpanKind.CLIENT]
    assert answer.json()["tenant_id"] == "acme"
    assert answer.headers["x-request-id"] == "r1"
    assert served.attributes["workflow_name"] == "call"
    assert served.parent.span_id == client.context.span_id
    assert client.parent.span_id == seen.named("call").context.span_id


def test_at_the_edge_the_claimed_trace_is_only_a_link(rules) -> None:
    rules(edge=True, trust=("127.0.0.0/8",))
    app = Starlette(routes=[Route("/", lambda request: JSONResponse(dict(bound())))])
    with capture() as seen, serving(app) as url:
        answer = _raw(url, {"traceparent": TRACE, "x-somatrace-tags": "1;eyJiIjp7InRlbmFudF9pZCI6ImEifX0"})
    (served,) = server_spans(seen)
    assert served.parent is None
    assert [format(link.context.trace_id, "032x") for link in served.links] == [TRACE[3:35]]
    assert answer.json().keys() == {"correlation_id"}
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]


def test_under_opentelemetrys_middleware_its_span_is_the_only_one_and_gets_the_tags(rules) -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    rules(trust=("127.0.0.0/8",))

    def handler(request):
        with span("inner"):
            return JSONResponse(dict(bound()))

    app = OpenTelemetryMiddleware(
        Starlette(routes=[Route("/jobs/{id}", handler)]), exclude_spans=["receive", "send"]
    )
    with capture() as seen, serving(app) as url, bind(tenant_id="acme"), span("call"):
        answer = httpx.get(url + "/jobs/7")
    (served,) = server_spans(seen)
    assert answer.json()["tenant_id"] == "acme"
    assert served.instrumentation_scope.name == "opentelemetry.instrumentation.asgi"
    assert served.attributes["tenant_id"] == "acme"
    assert served.name == "GET /jobs/{id}"
    assert seen.named("inner").parent.span_id == served.context.span_id
    assert seen.named("inner").attributes["workflow_name"] == "GET /jobs/{id}"


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_under_starlettes_opentelemetry_middleware_its_span_is_the_only_one(place, rules) -> None:
    native = pytest.importorskip("starlette.middleware.opentelemetry", exc_type=ImportError)
    app = starlette_traced_by(native.OpenTelemetryMiddleware, place)

    with capture() as seen, serving(app) as url:
        answer = _raw(url, {}, "/jobs/7?q=secret-q")

    (served,) = server_spans(seen)
    assert served.instrumentation_scope.name == "starlette"
    assert served.name == "GET /jobs/{id}"
    assert seen.named("inner").parent.span_id == served.context.span_id
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]
    assert b"secret" not in seen.bytes


def test_requests_that_starlettes_middleware_excludes_have_no_server_span(rules) -> None:
    native = pytest.importorskip("starlette.middleware.opentelemetry", exc_type=ImportError)
    app = starlette_traced_by(native.OpenTelemetryMiddleware, "inside", excluded_urls="/jobs")

    with capture() as seen, serving(app) as url:
        answer = _raw(url, {}, "/jobs/7")

    assert server_spans(seen) == []
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]


@pytest.mark.parametrize("provider", [trace.NoOpTracerProvider, TracerProvider])
def test_a_starlette_middleware_with_a_provider_of_its_own_takes_no_span_away(provider, rules) -> None:
    native = pytest.importorskip("starlette.middleware.opentelemetry", exc_type=ImportError)
    app = starlette_traced_by(native.OpenTelemetryMiddleware, "inside", tracer_provider=provider())

    with capture() as seen, serving(app) as url:
        _raw(url, {}, "/jobs/7")

    (served,) = server_spans(seen)
    assert served.instrumentation_scope.name == "somatrace.asgi"


def test_a_websocket_keeps_its_span_beside_starlettes_middleware() -> None:
    from websockets.sync.client import connect

    native = pytest.importorskip("starlette.middleware.opentelemetry", exc_type=ImportError)

    async def room(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    routes = [WebSocketRoute("/ws/{room}", room)]
    app = Starlette(routes=routes, middleware=[Middleware(native.OpenTelemetryMiddleware)])

    with capture() as seen, serving(app) as url, connect(url.replace("http", "ws") + "/ws/1"):
        pass

    (served,) = server_spans(seen)
    assert served.name == "WEBSOCKET /ws/{room}"


def test_an_untrusted_callers_sampling_does_not_reach_starlettes_middleware(rules) -> None:
    rules(trust=("192.0.2.0/24",))
    native = pytest.importorskip("starlette.middleware.opentelemetry", exc_type=ImportError)
    app = starlette_traced_by(native.OpenTelemetryMiddleware, "inside")

    with capture() as seen, serving(app) as url:
        _raw(url, {"traceparent": TRACE}, "/jobs/7")

    (served,) = server_spans(seen)
    assert served.instrumentation_scope.name == "starlette"
    assert format(served.context.trace_id, "032x") == TRACE[3:35]


def starlette_traced_by(middleware, place, **options):
    """An app with Starlette's own OpenTelemetry middleware among its middleware, or around it."""

    def handler(request):
        with span("inner"):
            return JSONResponse(dict(bound()))

    routes = [Route("/jobs/{id}", handler)]
    if place == "outside":
        return middleware(Starlette(routes=routes), **options)
    return Starlette(routes=routes, middleware=[Middleware(middleware, **options)])


def test_an_app_called_in_process_inside_a_span_is_its_child() -> None:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse(""))])

    async def call() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            with span("caller"):
                await client.get("/")
                assert trace.get_current_span().name == "caller"

    with capture() as seen:
        asyncio.run(call())
    (served,) = server_spans(seen)
    assert served.parent.span_id == seen.named("caller").context.span_id


def test_a_fault_in_somatrace_never_fails_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("planted")

    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("served"))])
    for part in ("ExtractedScope", "headers_for", "may_carry"):
        with monkeypatch.context() as planted, capture():
            planted.setattr(propagation, part, broken)
            assert get(app, "/").text == "served"
    assert bound() == {}
    assert not trace.get_current_span().get_span_context().is_valid


def _raw(url: str, headers: dict[str, str], path: str = "/") -> httpx.Response:
    """A request by a caller that is not instrumented, with these headers only."""
    import http.client

    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=body)
