"""The langfuse SDK's own requests are no spans, whoever instruments its HTTP client, and when."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from tests.support.http_server import PromptHandler
from tests.support.otlp_server import otlp_server
from tests.support.programs import run_program

pytest.importorskip("langfuse", reason="the extra langfuse")
pytest.importorskip("opentelemetry.instrumentation.httpx")
pytest.importorskip("opentelemetry.instrumentation.urllib3")

from tests.support.local_server import Running, server, start_server

__all__ = ["server", "start_server"]

pytestmark = pytest.mark.slow
INSTRUMENTORS = """
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
def instrument():
    for instrumentor in (
        HTTPXClientInstrumentor, RequestsInstrumentor, URLLibInstrumentor, URLLib3Instrumentor,
        ThreadingInstrumentor,
    ):
        instrumentor().instrument(skip_dep_check=True)
"""
LANGFUSE = """
import base64
from contextlib import suppress
import httpx
from langfuse import Langfuse, LangfuseMedia
from langfuse.api import LangfuseAPI
def use(url, public_key, secret_key):
    langfuse = Langfuse(public_key=public_key, secret_key=secret_key, base_url=url, timeout=60)
    api = langfuse.api
    calls = (
        langfuse.auth_check,
        lambda: langfuse.get_prompt("movie", max_retries=0),
        lambda: api.observations.get_many(limit=1),
        lambda: api.trace.list(limit=1),
        lambda: api.health.health(),
        lambda: langfuse.get_dataset("movies"),
        lambda: langfuse.create_score(name="useful", value=1, trace_id="0" * 31 + "1"),
    )
    for call in calls:
        with suppress(Exception):
            call()
    picture = LangfuseMedia(content_bytes=b"picture", content_type="image/png")
    with langfuse.start_as_current_observation(name="picture", input={"picture": picture}):
        pass
    langfuse.flush()
"""


class MediaServer:
    """A Langfuse that hands out addresses for uploads, and takes them."""

    def __init__(self) -> None:
        outer = self
        self.requests: list[tuple[str, str]] = []

        class Handler(PromptHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path.partition("?")[0]))
                answer = b"{}"
                if self.path == "/api/public/media":
                    media = outer.media_id(body)
                    answer = (
                        f'{{"mediaId": "{media}", "uploadUrl": "http://127.0.0.1:{outer.port}/bucket/{media}"}}'
                    ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PATCH = do_PUT = do_POST  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @staticmethod
    def media_id(body: bytes) -> str:
        """The id that the SDK derives from the content, and checks."""
        digest = base64.b64decode(json.loads(body)["sha256Hash"])
        return base64.urlsafe_b64encode(digest).decode()[:22]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def langfuse() -> Iterator[MediaServer]:
    started = MediaServer()
    yield started
    started.close()


def run_with_langfuse(order: str, env: dict[str, str]) -> None:
    """Run a program that uses the SDK, instrumented before or after `init_tracing`."""
    lines = ["somatrace.init_tracing('svc')", "instrument()"]
    if order == "before":
        lines.reverse()
    run_program(
        f"{INSTRUMENTORS}\n{LANGFUSE}\nimport os, somatrace\n" + "\n".join(lines) + "\n"
        "use(os.environ['URL'], os.environ['PUBLIC'], os.environ['SECRET'])\n"
        "assert somatrace.flush(60), somatrace.status()\n",
        env,
    )


@pytest.mark.parametrize("order", ["before", "after"])
def test_no_call_of_the_langfuse_sdk_is_a_span_in_another_backend(order: str, langfuse: MediaServer) -> None:
    env = {"URL": langfuse.url, "PUBLIC": "pk-lf-1", "SECRET": "sk-lf-1"}

    with otlp_server() as server:
        run_with_langfuse(order, {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": server.url})
        names = [received.name for received in server.spans]

    called = {path for _, path in langfuse.requests}
    assert {"/api/public/projects", "/api/public/media", "/api/public/v2/prompts/movie"} <= called
    assert any(method == "PUT" and path.startswith("/bucket/") for method, path in langfuse.requests)
    assert names == ["picture"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_no_call_of_the_langfuse_sdk_is_a_span_in_the_store_that_it_asks(order: str, server: Running) -> None:
    keys = server.keys

    run_with_langfuse(
        order,
        {
            "URL": server.url,
            "PUBLIC": keys.public_key,
            "SECRET": keys.secret_key,
            "LANGFUSE_BASE_URL": server.url,
            "LANGFUSE_PUBLIC_KEY": keys.public_key,
            "LANGFUSE_SECRET_KEY": keys.secret_key,
        },
    )

    listed = server.get("/api/public/v2/observations", limit=100, fields="core,basic").json()["data"]
    assert [found["name"] for found in listed] == ["picture"]
