"""Record the server spans that OpenTelemetry's own instrumentations make, into `server_spans.json`.

Run it in an environment of its own, since the frameworks are not among the development dependencies:

    python -m venv /tmp/servers
    /tmp/servers/bin/pip install opentelemetry-sdk flask django falcon pyramid tornado starlette fastapi \\
        aiohttp uvicorn websockets grpcio opentelemetry-instrumentation-{aiohttp-server,asgi,django,falcon} \\
        opentelemetry-instrumentation-{fastapi,flask,grpc,pyramid,starlette,tornado,wsgi}
    /tmp/servers/bin/python -I tests/instrumentation/http/recordings/record_server_spans.py

Each framework serves one route with a parameter. It is asked for a path of that route, for one without a
route, and with a method that does not exist; ASGI servers are also asked for two websockets. `PLANTED` is
part of every path.
"""

from __future__ import annotations

import asyncio
import json
import threading
import wsgiref.simple_server
from contextlib import suppress
from http.client import HTTPConnection
from importlib import metadata
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

PLANTED = "planted-lovelace"
PATHS = (f"/users/{PLANTED}", f"/nowhere/{PLANTED}")
OUTPUT = Path(__file__).with_name("server_spans.json")


class Recorder(SpanProcessor):
    """Keeps name and attributes of each span, as they are at its start and at its end."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self._started: dict[int, dict[str, Any]] = {}

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._started[span.context.span_id] = state_of(span)

    def on_end(self, span: Any) -> None:
        self.spans.append(
            {
                "scope": span.instrumentation_scope.name,
                "kind": span.kind.name,
                "started": self._started[span.context.span_id],
                "ended": state_of(span),
            }
        )


def state_of(span: Any) -> dict[str, Any]:
    attributes = {key: value for key, value in dict(span.attributes or {}).items() if keeps(key, value)}
    return {"name": span.name, "attributes": attributes}


def keeps(key: str, value: Any) -> bool:
    """Without what differs from run to run: ports and addresses."""
    return isinstance(value, (str, int)) and not key.endswith(("port", "peer.ip", ".address", "user_agent"))


def ask(port: int) -> None:
    for method, path in (("GET", PATHS[0]), ("GET", PATHS[1]), (PLANTED.upper(), PATHS[0])):
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        with suppress(Exception):
            connection.request(method, path)
            connection.getresponse().read()
        connection.close()


def serve_wsgi(app: Any) -> None:
    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask(server.server_port)
        server.shutdown()


def serve_asgi(app: Any) -> None:
    import uvicorn
    from websockets.sync.client import connect

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    ask(port)
    for path in (f"/rooms/{PLANTED}", PATHS[1]):
        with suppress(Exception), connect(f"ws://127.0.0.1:{port}{path}") as socket:
            socket.send("hello")
            socket.recv(timeout=60)
    server.should_exit = True
    thread.join()


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def asgi_hello(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def wsgi(provider: Any) -> None:
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    serve_wsgi(OpenTelemetryMiddleware(hello, tracer_provider=provider))


def asgi(provider: Any) -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    serve_asgi(OpenTelemetryMiddleware(asgi_hello, tracer_provider=provider))


def flask(provider: Any) -> None:
    from flask import Flask
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    app = Flask("served")
    app.get("/users/<name>")(lambda name: "hello")
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    serve_wsgi(app)


def django(provider: Any) -> None:
    from django.conf import settings
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    settings.configure(ROOT_URLCONF="served_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
    import sys
    from types import ModuleType

    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    urls: Any = ModuleType("served_urls")
    urls.urlpatterns = [path("users/<slug:name>", lambda request, name: HttpResponse("hello"))]
    sys.modules["served_urls"] = urls
    DjangoInstrumentor().instrument(tracer_provider=provider)
    serve_wsgi(get_wsgi_application())


def falcon(provider: Any) -> None:
    from opentelemetry.instrumentation.falcon import FalconInstrumentor

    FalconInstrumentor().instrument(tracer_provider=provider)
    import falcon

    class Users:
        def on_get(self, request: Any, response: Any, name: str) -> None:
            response.text = "hello"

    app = falcon.App()
    app.add_route("/users/{name}", Users())
    serve_wsgi(app)


def pyramid(provider: Any) -> None:
    from opentelemetry.instrumentation.pyramid import PyramidInstrumentor

    trace.set_tracer_provider(provider)  # it takes no other
    from pyramid.config import Configurator
    from pyramid.response import Response

    configuration = Configurator()
    PyramidInstrumentor().instrument_config(configuration)
    configuration.add_route("user", "/users/{name}")
    configuration.add_view(lambda request: Response("hello"), route_name="user")
    serve_wsgi(configuration.make_wsgi_app())


def tornado(provider: Any) -> None:
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor

    TornadoInstrumentor().instrument(tracer_provider=provider)
    import tornado.web

    class Users(tornado.web.RequestHandler):
        def get(self, name: str) -> None:
            self.write("hello")

    async def run() -> None:
        server = tornado.web.Application([(r"/users/([a-z-]+)", Users)]).listen(0, "127.0.0.1")
        (port,) = {found.getsockname()[1] for found in server._sockets.values()}
        await asyncio.to_thread(ask, port)
        server.stop()

    asyncio.run(run())


def aiohttp_server(provider: Any) -> None:
    from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor

    AioHttpServerInstrumentor().instrument(tracer_provider=provider)
    from aiohttp import web

    async def users(request: Any) -> Any:
        return web.Response(text="hello")

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/users/{name}", users)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await asyncio.to_thread(ask, runner.addresses[0][1])
        await runner.cleanup()

    asyncio.run(run())


def starlette(provider: Any) -> None:
    from opentelemetry.instrumentation.starlette import StarletteInstrumentor
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute

    async def users(request: Any) -> Any:
        return PlainTextResponse("hello")

    async def room(socket: Any) -> None:
        await socket.accept()
        await socket.receive_text()
        await socket.send_text("hello")
        await socket.close()

    app = Starlette(routes=[Route("/users/{name}", users), WebSocketRoute("/rooms/{name}", room)])
    StarletteInstrumentor.instrument_app(app, tracer_provider=provider)
    serve_asgi(app)


def fastapi(provider: Any) -> None:
    from fastapi import FastAPI
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = FastAPI()
    app.get("/users/{name}")(lambda name: "hello")
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    serve_asgi(app)


def grpc(provider: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from opentelemetry.instrumentation.grpc import server_interceptor

    server = grpc.server(ThreadPoolExecutor(2), interceptors=[server_interceptor(provider)])
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"hello")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("users.Users", {"Get": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in ("/users.Users/Get", f"/users.Users/{PLANTED}"):
            with suppress(Exception):
                channel.unary_unary(method)(b"", timeout=60)
    server.stop(None).wait()


FRAMEWORKS = (
    wsgi, flask, django, falcon, pyramid, tornado, aiohttp_server, asgi, starlette, fastapi, grpc,
)  # fmt: skip


def main() -> None:
    recorded = {}
    for framework in FRAMEWORKS:
        recorder, provider = Recorder(), TracerProvider()
        provider.add_span_processor(recorder)
        framework(provider)
        name = f"opentelemetry-instrumentation-{framework.__name__.replace('_', '-')}"
        recorded[framework.__name__] = {"instrumentation": metadata.version(name), "spans": recorder.spans}
    OUTPUT.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
