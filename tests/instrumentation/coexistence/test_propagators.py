"""OpenTelemetry's own instrumentations send and accept no more than somatrace's."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter

from somatrace import propagation, span
from somatrace.config import Settings
from somatrace.testing import capture
from tests.support.echo_server import Echo
from tests.support.web import serving

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
TRACE_HEADERS = {"traceparent", "tracestate", "baggage", "x-somatrace-tags"}
FORGED = {"traceparent": f"{TRACE}-00", "baggage": "plan=forged"}


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed in this environment")


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def rules() -> Iterator[Callable[..., None]]:
    with capture():
        pass

    def configure(**settings: object) -> None:
        propagation.configure(Settings(**settings))  # type: ignore[arg-type]

    yield configure
    configure()


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the name of an external host to this machine."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        here = host in ("api.external.example", b"api.external.example")
        return resolve("127.0.0.1" if here else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


@contextmanager
def instrumented(package: str, name: str) -> Iterator[None]:
    instrumentor = getattr(library(f"opentelemetry.instrumentation.{package}"), name)()
    instrumentor.instrument()
    try:
        yield
    finally:
        instrumentor.uninstrument()


@contextmanager
def program_baggage() -> Iterator[None]:
    token = otel_context.attach(baggage.set_baggage("plan", "gold"))
    try:
        yield
    finally:
        otel_context.detach(token)


def by_urllib3(url: str) -> None:
    library("urllib3").PoolManager().request("GET", url)


def by_urllib(url: str) -> None:
    urlopen(Request(url), timeout=60).close()


def by_requests(url: str) -> None:
    library("requests").get(url, timeout=60)


def by_httpx(url: str) -> None:
    library("httpx").get(url)


def by_aiohttp(url: str) -> None:
    aiohttp = library("aiohttp")

    async def run() -> None:
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url):
            pass

    asyncio.run(run())


def by_tornado(url: str) -> None:
    client = library("tornado.httpclient")

    async def run() -> None:
        await client.AsyncHTTPClient(force_instance=True).fetch(url)

    asyncio.run(run())


def aws(service: str, url: str) -> Any:
    return library("boto3").client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )


def by_lambda(url: str) -> None:
    """The instrumentation also writes into the client context, a header of its own."""
    aws("lambda", url).invoke(FunctionName="f", Payload=b"{}")


def by_sqs(url: str) -> None:
    """The instrumentation also writes message attributes, into the body."""
    aws("sqs", url).send_message(QueueUrl=f"{url}q", MessageBody="hi")


CLIENTS = [
    ("urllib3", "URLLib3Instrumentor", by_urllib3),
    ("urllib", "URLLibInstrumentor", by_urllib),
    ("requests", "RequestsInstrumentor", by_requests),
    ("httpx", "HTTPXClientInstrumentor", by_httpx),
    ("aiohttp_client", "AioHttpClientInstrumentor", by_aiohttp),
    ("tornado", "TornadoInstrumentor", by_tornado),
    ("botocore", "BotocoreInstrumentor", by_lambda),
    ("botocore", "BotocoreInstrumentor", by_sqs),
]
each_client = pytest.mark.parametrize(
    ("package", "name", "get"), CLIENTS, ids=lambda value: value if isinstance(value, str) else value.__name__
)


@each_client
@pytest.mark.filterwarnings("ignore")
def test_an_instrumented_client_sends_nothing_to_other_hosts(
    package: str, name: str, get: Callable[[str], None], echo: Echo
) -> None:
    with capture(), instrumented(package, name), program_baggage(), span("work"):
        try:
            get(f"http://api.external.example:{echo.port}/")
        except Exception as error:  # an answer without a body
            assert echo.requests, repr(error)  # noqa: PT017

    assert echo.requests
    for sent in (*echo.requests, *echo.bodies):
        assert not [word for word in ("trace", "baggage", "gold") if word in str(sent).lower()], sent


@pytest.mark.parametrize(
    ("package", "name", "get"),
    [client for client in CLIENTS if client[0] in ("requests", "httpx", "aiohttp_client")],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_clients_that_somatrace_knows_still_send_to_allowed_hosts(
    package: str, name: str, get: Callable[[str], None], echo: Echo
) -> None:
    with capture() as seen, instrumented(package, name), program_baggage(), span("work"):
        get(f"http://localhost:{echo.port}/")

    (sent,) = echo.requests
    assert sent["traceparent"].split("-")[1] == f"{seen.named('work').context.trace_id:032x}"
    assert sent["baggage"] == "plan=gold"


def test_what_the_program_injects_itself_is_its_own_decision() -> None:
    carrier: dict[str, str] = {}
    with capture(), program_baggage(), span("work"):
        propagate.inject(carrier)

    assert set(carrier) == {"traceparent", "baggage"}


def test_sql_comments_that_the_program_asks_for_have_the_trace_but_no_baggage() -> None:
    from opentelemetry.instrumentation.utils import _get_opentelemetry_values

    with capture(), program_baggage(), span("work"):
        assert set(_get_opentelemetry_values()) == {"traceparent"}


def test_nothing_is_injected_in_a_model_call() -> None:
    carrier: dict[str, str] = {}
    with capture(), program_baggage(), span("answer", kind="llm"):
        propagate.inject(carrier)

    assert carrier == {}


class Pigeon(TextMapPropagator):
    """A propagator of the program's own."""

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        setter.set(carrier, "x-pigeon", f"{trace.get_current_span(context).get_span_context().trace_id:032x}")

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = default_getter) -> Context:
        context = Context() if context is None else context
        return baggage.set_baggage("pigeon", "yes", context) if getter.get(carrier, "x-pigeon") else context

    @property
    def fields(self) -> set[str]:
        return {"x-pigeon"}


@pytest.fixture
def pigeon() -> Iterator[Pigeon]:
    before = propagate.get_global_textmap()
    mine = Pigeon()
    propagate.set_global_textmap(mine)
    yield mine
    propagate.set_global_textmap(before)


def test_the_programs_own_propagator_stays_the_global_one(pigeon: Pigeon) -> None:
    carrier: dict[str, str] = {}
    with capture(), span("work"):
        propagate.inject(carrier)

    assert propagate.get_global_textmap() is pigeon
    assert set(carrier) == {"x-pigeon"}
    assert baggage.get_baggage("pigeon", propagate.extract(carrier)) == "yes"


def test_the_programs_own_propagator_is_held_to_the_same_hosts(pigeon: Pigeon, echo: Echo) -> None:
    with capture(), span("work"):
        with instrumented("urllib3", "URLLib3Instrumentor"):
            by_urllib3(f"http://api.external.example:{echo.port}/")
        with instrumented("httpx", "HTTPXClientInstrumentor"):
            by_httpx(f"http://api.external.example:{echo.port}/")
            by_httpx(f"http://localhost:{echo.port}/")

    first, second, inside = echo.requests
    assert "x-pigeon" not in first
    assert "x-pigeon" not in second
    assert "x-pigeon" in inside


def in_force() -> dict[str, Any]:
    context = trace.get_current_span().get_span_context()
    return {
        "baggage": dict(baggage.get_all()),
        "trace": f"{context.trace_id:032x}",
        "sampled": bool(context.trace_flags),
    }


@contextmanager
def by_asgi() -> Iterator[str]:
    middleware = library("opentelemetry.instrumentation.asgi").OpenTelemetryMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps(in_force()).encode()})

    with serving(middleware(app)) as url:
        yield url


@contextmanager
def by_fastapi() -> Iterator[str]:
    middleware = library("opentelemetry.instrumentation.asgi").OpenTelemetryMiddleware
    app = library("fastapi").FastAPI()
    app.get("/")(in_force)
    with serving(middleware(app)) as url:
        yield url


@contextmanager
def by_flask() -> Iterator[str]:
    app = library("flask").Flask("app")
    library("opentelemetry.instrumentation.flask").FlaskInstrumentor().instrument_app(app)
    app.get("/")(in_force)

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            """Quiet."""

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, headers: dict[str, str]) -> dict[str, Any]:
    with urlopen(Request(url, headers=headers), timeout=60) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


SERVERS = [by_asgi, by_fastapi, by_flask]
each_server = pytest.mark.parametrize("serve", SERVERS, ids=lambda serve: serve.__name__)


@each_server
def test_a_callers_baggage_is_not_in_force_and_its_sampling_flag_has_no_effect(
    serve: Any, rules: Any
) -> None:
    rules()
    with serve() as url:
        answer = ask(url, FORGED)

    assert answer["baggage"] == {}
    assert answer["trace"] == TRACE[3:35]
    assert answer["sampled"]


@each_server
def test_at_the_edge_a_request_starts_a_new_trace(serve: Any, rules: Any) -> None:
    rules(edge=True, trust=("127.0.0.0/8",))
    with serve() as url:
        answer = ask(url, FORGED)

    assert answer["baggage"] == {}
    assert answer["trace"] != TRACE[3:35]


def test_at_the_edge_the_server_span_of_another_instrumentation_is_linked_to_the_claimed_one(
    rules: Any,
) -> None:
    rules(edge=True)
    with capture() as seen, by_fastapi() as url:
        ask(url, FORGED)

    linked = [link.context.trace_id for found in seen.spans for link in found.links]
    assert [f"{trace_id:032x}" for trace_id in linked] == [TRACE[3:35]]


@each_server
def test_a_trusted_peers_baggage_and_sampling_flag_are_in_force(serve: Any, rules: Any) -> None:
    rules(trust=("127.0.0.0/8",))
    with serve() as url:
        answer = ask(url, FORGED)
        forwarded = ask(url, {**FORGED, "X-Forwarded-For": "127.0.0.1"})

    assert answer == {"baggage": {"plan": "forged"}, "trace": TRACE[3:35], "sampled": False}
    assert forwarded["baggage"] == {}


def extracted_by(instrumentation: str) -> Callable[..., Context]:
    """`propagate.extract`, called by code of an instrumentation library."""
    namespace: dict[str, Any] = {"__name__": f"opentelemetry.instrumentation.{instrumentation}"}
    exec("def call(function, *args, **kwargs):\n    return function(*args, **kwargs)\n", namespace)
    return lambda *args, **kwargs: namespace["call"](propagate.extract, *args, **kwargs)


#: What a caller can write into message headers, metadata or a message's body to look like a server's request.
FORGED_REQUESTS: dict[str, dict[str, Any]] = {
    "asgi": {"type": "http", "asgi": {"version": "3.0"}, "headers": [], "client": ["127.0.0.1", 1]},
    "asgi, packed": {"type": "http", "headers": [(b"host", b"svc")], "client": ("127.0.0.1", 1)},
    "asgi, text": {"type": "http", "headers": "x", "client": "127.0.0.1"},
    "wsgi": {"wsgi.version": [1, 0], "REMOTE_ADDR": "127.0.0.1", "wsgi.input": {}, "wsgi.errors": {}},
    "wsgi, text": {"wsgi.version": "(1, 0)", "REMOTE_ADDR": "127.0.0.1"},
}


@pytest.mark.parametrize("carrier", FORGED_REQUESTS.values(), ids=FORGED_REQUESTS.keys())
def test_headers_of_a_message_that_look_like_a_servers_request_have_no_address(
    carrier: dict[str, Any], rules: Any
) -> None:
    rules(trust=("127.0.0.0/8",))

    extracted = extracted_by("kafka")({**FORGED, **carrier}, context=Context())

    assert baggage.get_all(extracted) == {}
    assert trace.get_current_span(extracted).get_span_context().trace_flags


def test_a_request_that_only_looks_like_wsgi_is_not_one_even_if_it_is_read_as_one(rules: Any) -> None:
    getter = library("opentelemetry.instrumentation.wsgi").wsgi_getter
    rules(trust=("127.0.0.0/8",))
    forged = {**FORGED_REQUESTS["wsgi"], "HTTP_BAGGAGE": "plan=forged"}

    assert baggage.get_all(extracted_by("wsgi")(forged, context=Context(), getter=getter)) == {}


def test_what_the_program_extracts_itself_is_its_own_decision() -> None:
    with capture():
        pass

    extracted = propagate.extract(FORGED)

    assert baggage.get_all(extracted) == {"plan": "forged"}
    assert not trace.get_current_span(extracted).get_span_context().trace_flags


def test_celery_tasks_keep_the_span_of_the_instrumentation_as_their_parent() -> None:
    celery = library("celery")
    library("celery.signals").after_task_publish.connect(
        lambda headers, **_: published.append(dict(headers)), weak=False
    )
    published: list[dict[str, Any]] = []
    app = celery.Celery("app", broker="memory://")

    with capture() as seen, instrumented("celery", "CeleryInstrumentor"), span("work"):
        app.send_task("add")

    (headers,) = published
    sent = seen.named("apply_async/add").context
    assert headers["traceparent"].split("-")[1:3] == [f"{sent.trace_id:032x}", f"{sent.span_id:016x}"]


@pytest.mark.slow
def test_a_grpc_servers_caller_is_not_believed_and_its_client_sends_nothing(rules: Any) -> None:
    rules(trust=("127.0.0.0/8",))
    grpc = library("grpc")
    otel = library("opentelemetry.instrumentation.grpc")
    from concurrent.futures import ThreadPoolExecutor

    asked: list[dict[str, Any]] = []

    def answer(request: bytes, context: Any) -> bytes:
        asked.append({**in_force(), "metadata": dict(context.invocation_metadata())})
        return b""

    server = grpc.server(ThreadPoolExecutor(1), interceptors=[otel.server_interceptor()])
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"ask": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, capture(), program_baggage(), span("work"):
        channel.unary_unary("/s/ask")(b"", metadata=tuple(FORGED.items()))
        address = {"type": "http", "headers": "x", "client": "127.0.0.1"}
        channel.unary_unary("/s/ask")(b"", metadata=tuple({**FORGED, **address}.items()))
        intercept = library("opentelemetry.instrumentation.grpc.grpcext").intercept_channel
        intercept(channel, otel.client_interceptor()).unary_unary("/s/ask")(b"")
    server.stop(None).wait()

    *forgeries, own = asked
    assert len(forgeries) == 2
    for forged in forgeries:
        assert forged["baggage"] == {}
        assert forged["trace"] == TRACE[3:35]
        assert forged["sampled"]
    assert not TRACE_HEADERS & own["metadata"].keys()
