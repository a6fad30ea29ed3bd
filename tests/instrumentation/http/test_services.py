"""Services as processes, with `init_tracing` in several places and beside OpenTelemetry's instrumentors."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import PATIENT, otlp_env, run_program
from tests.support.web import service

pytestmark = pytest.mark.slow

SERVER, CLIENT = 2, 3
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
APP = (
    PATIENT
    + """
from fastapi import FastAPI
from somatrace import bind, bound, init_tracing, span

def make(**options):
    app = FastAPI(**options)
    @app.get("/items/{item}")
    def item(item: str):
        with span("inner"):
            return dict(bound())
    return app
"""
)


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


def call(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """A request by a caller that is not under test."""
    import http.client

    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", "/items/7", headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=body)


def of_kind(server: OtlpServer, kind: int):
    return [found for found in server.spans if found.kind == kind]


IN_A_LIFESPAN = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    init_tracing("svc")
    yield

serve(make(lifespan=lifespan))
"""
ON_UVLOOP = """
import asyncio, uvloop
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
init_tracing("svc")
serve(make())
"""


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("init_tracing('svc')\nserve(make())", id="before the app"),
        pytest.param("app = make()\ninit_tracing('svc')\nserve(app)", id="after the app"),
        pytest.param(IN_A_LIFESPAN, id="in its lifespan"),
        pytest.param(ON_UVLOOP, id="on uvloop"),
    ],
)
def test_requests_are_traced_wherever_init_tracing_is_called(server, tmp_path: Path, source: str) -> None:
    with service(APP + source, otlp_env(server.url), tmp_path) as url:
        answer = call(url, {"traceparent": TRACE})
    server.wait_for(2)
    (served,) = of_kind(server, SERVER)
    assert served.name == "GET /items/{item}"
    assert served.trace_id == TRACE[3:35]
    assert server.named("inner")[0].parent_id == served.span_id
    assert len(server.spans) == 2, "FastAPI's own spans would be a second set"
    assert answer.headers["x-correlation-id"] == served.attributes["correlation_id"]


def test_a_stopped_server_sends_its_last_spans_although_uvicorn_exits_by_a_signal(server, tmp_path):
    env = otlp_env(server.url, SOMATRACE_FLUSH_INTERVAL="600")
    with service(APP + "init_tracing('svc')\nserve(make())", env, tmp_path) as url:
        call(url)
        assert server.spans == []
    server.wait_for(2)
    assert sorted(found.name for found in server.spans) == ["GET /items/{item}", "inner"]


INSTRUMENTED = str(Path(sys.executable).with_name("opentelemetry-instrument"))
AGENT = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",  # the distribution would choose grpc
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


@pytest.mark.parametrize("edge", ["false", "true"])
def test_under_opentelemetry_instrument_there_is_one_server_span_with_tags(
    server, tmp_path, edge: str
) -> None:
    env = otlp_env(server.url, **AGENT, SOMATRACE_EDGE=edge)
    source = APP + "init_tracing('svc')\nserve(make())"
    with service(source, env, tmp_path, command=(INSTRUMENTED, sys.executable)) as url:
        answer = call(url, {"traceparent": TRACE, "x-correlation-id": "theirs", "baggage": "user=evil"})
    server.wait_for(2)
    (served,) = of_kind(server, SERVER)
    assert served.scope == "opentelemetry.instrumentation.fastapi"
    (inner,) = server.named("inner")
    assert inner.attributes["correlation_id"] == answer.headers["x-correlation-id"] != "theirs"
    assert inner.attributes["workflow_name"] == "GET /items/{item}"
    assert (served.trace_id == TRACE[3:35]) is (edge == "false")


def test_an_app_instrumented_by_hand_has_one_server_span(server, tmp_path) -> None:
    source = (
        APP + "from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor\n"
        "init_tracing('svc')\napp = make()\nFastAPIInstrumentor.instrument_app(app)\nserve(app)"
    )
    with service(source, otlp_env(server.url), tmp_path) as url:
        call(url)
    server.wait_for(2)
    assert len(of_kind(server, SERVER)) == 1


@pytest.mark.parametrize("order", ["init_tracing('svc'); theirs()", "theirs(); init_tracing('svc')"])
def test_clients_instrumented_by_opentelemetry_make_one_span_and_send_external_hosts_nothing(
    server, order: str
) -> None:
    out = run_program(
        f"""
        import socket, sys, threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        from somatrace import bind, flush, init_tracing
        import httpx, openai, requests
        def theirs():
            from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
            from opentelemetry.instrumentation.requests import RequestsInstrumentor
            from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
            for instrumentor in (HTTPXClientInstrumentor, RequestsInstrumentor, URLLib3Instrumentor):
                instrumentor().instrument()
        {order}
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found = {{name.lower() for name in self.headers}} & {{"traceparent", "x-somatrace-tags"}}
                print(self.path, *sorted(found), flush=True)
                self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
            do_POST = do_GET
            def log_message(self, *args): pass
        echo = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        resolve = socket.getaddrinfo
        def resolve_here(host, *a, **k):
            return resolve("127.0.0.1" if "external" in str(host) else host, *a, **k)
        socket.getaddrinfo = resolve_here
        with bind(tenant_id="acme"):
            for host in ("localhost", "external.example"):
                httpx.get(f"http://{{host}}:{{echo.server_port}}/httpx-{{host}}")
                requests.get(f"http://{{host}}:{{echo.server_port}}/requests-{{host}}")
        with bind(tenant_id="llm"):
            here = f"http://localhost:{{echo.server_port}}"
            client = openai.OpenAI(api_key="k", base_url=here, max_retries=0)
            try: client.models.list()
            except Exception: pass
        flush(60)
        """,
        otlp_env(server.url),
    ).stdout
    assert out.splitlines() == [
        "/httpx-localhost traceparent x-somatrace-tags",
        "/requests-localhost traceparent x-somatrace-tags",
        "/httpx-external.example",
        "/requests-external.example",
        "/models",
    ]
    requests = [found for found in of_kind(server, CLIENT) if found.attributes["tenant_id"] == "acme"]
    assert len(requests) == 4, [(found.name, found.scope) for found in server.spans]


def test_signed_tags_reach_the_next_service_only_with_the_key(server, tmp_path) -> None:
    key = "demo:" + base64.b64encode(b"k" * 32).decode()
    caller = """
        import sys, httpx
        from somatrace import bind, flush, init_tracing, span
        init_tracing("front")
        with bind(tenant_id="acme"), span("ask", kind="workflow"):
            print(httpx.get(sys.argv[1] if len(sys.argv) > 1 else URL).json().get("tenant_id"))
        assert flush(60)
        """
    source = APP + "init_tracing('back')\nserve(make())"
    env = otlp_env(server.url, SOMATRACE_TRUST_KEYS=key, SOMATRACE_FLUSH_INTERVAL="0.02")
    with service(source, env, tmp_path) as url:
        program = f"URL = {url + '/items/1'!r}\n"
        import textwrap

        trusted = run_program(
            program + textwrap.dedent(caller), otlp_env(server.url, SOMATRACE_TRUST_KEYS=key)
        )
        untrusted = run_program(program + textwrap.dedent(caller), otlp_env(server.url))
        server.wait_for(8)
    assert (trusted.stdout, untrusted.stdout) == ("acme\n", "None\n")
    tenants = [
        found.attributes["tenant_id"] for found in server.spans if found.resource["service.name"] == "back"
    ]
    assert sorted(tenants) == ["acme", "acme", "unknown", "unknown"]
    joined = [found for found in server.spans if found.attributes["workflow_name"] == "ask"]
    assert {found.resource["service.name"] for found in joined} == {"front", "back"}
