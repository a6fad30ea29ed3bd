"""A server with the parts of Langfuse's API that smoke uses, over a real store, with injectable faults."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from somatrace.local.langfuse_api import observations
from somatrace.local.otlp.decode import Limits, from_protobuf
from somatrace.local.store.store import Store
from tests.support.http_server import PromptHandler

PUBLIC, SECRET = "pk-lf-smoke", "sk-lf-SECRETCANARY"
OTLP = "/api/public/otel/v1/traces"
V2 = "/api/public/v2/observations"
V1 = "/api/public/traces/"
Answer = tuple[int, Any]


class Backend:
    """`export` and `reading` replace the server's answer unless they return None; `alter` changes the
    observations read back; `version` is the version of the read API: 2, 1, or 0 for none; `retry_after` is a
    header of all answers."""

    def __init__(self, directory: Path, tls: ssl.SSLContext | None = None) -> None:
        self.store = Store(directory)
        self.export: Callable[[bytes], Answer | None] = lambda body: None
        self.reading: Callable[[], Answer | None] = lambda: None
        self.alter: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda observations: observations
        self.version = 2
        self.retry_after = ""
        self.asked: list[str] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def env(self) -> dict[str, str]:
        """The environment that makes this server the target."""
        return {"LANGFUSE_HOST": self.url, "LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET}

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self.store.close()

    def post(self, body: bytes) -> Answer:
        answer = self.export(body)
        if answer is None:
            if body:
                self.store.add(from_protobuf(body, Limits()))
            answer = 200, {}
        return answer

    def get(self, path: str, query: dict[str, str]) -> Answer:
        self.asked.append(path)
        answer = self.reading()
        if answer is not None:
            return answer
        if self.version == 2 and path == V2:
            return 200, {"data": self.found(query), "meta": {}}
        if self.version == 1 and path.startswith(V1):
            return self.trace(path.removeprefix(V1))
        return 404, "<html>not found</html>"

    def found(self, query: dict[str, str]) -> list[dict[str, Any]]:
        parsed = observations.parse(query, [])
        return self.alter(self.store.read(lambda connection: observations.select(connection, parsed))["data"])

    def trace(self, trace_id: str) -> Answer:
        """A trace as Langfuse 2 and 3 return it, with shared fields on the trace."""
        fields = "core,basic,time,io,metadata,model,usage,trace_context"
        found = self.found({"traceId": trace_id, "fields": fields})
        if not found:
            return 404, {
                "error": "LangfuseNotFoundError",
                "message": "Trace not found within authorized project",
            }
        first = found[0]
        metadata = {
            key: value for key, value in first["metadata"].items() if not key.startswith("attributes.")
        }
        trace = {"id": trace_id, "name": first["traceName"], "metadata": metadata}
        trace |= {key: first[key] for key in ("sessionId", "userId", "tags")}
        dropped = ("traceName", "sessionId", "userId", "tags", "metadata")
        trace["observations"] = [{key: each[key] for key in each if key not in dropped} for each in found]
        return 200, trace


def _handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
    expected = "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()

    class Handler(PromptHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("content-encoding") == "gzip":
                body = zlib.decompress(body, 47) if body else body
            known = self.path.partition("?")[0] == OTLP
            self._answer((lambda: backend.post(body)) if known else None)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            self._answer(lambda: backend.get(parts.path, query))

        def _answer(self, answer: Callable[[], Answer] | None) -> None:
            given = self.headers.get("authorization")
            status, body = 401, {"message": f"no {given}"}
            if answer is None:
                status, body = 404, "<html>not found</html>"
            elif given == expected:
                status, body = answer()
            if status < 0:
                backend.closing.wait(60)
                return
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", text)
            self.send_header("Content-Type", "application/json" if not isinstance(body, str) else "text/html")
            self.send_header("Content-Length", str(len(text.encode())))
            if backend.retry_after:
                self.send_header("Retry-After", backend.retry_after)
            self.end_headers()
            self.wfile.write(text.encode())

    return Handler


@contextmanager
def running(directory: Path, tls: ssl.SSLContext | None = None) -> Iterator[Backend]:
    backend = Backend(directory, tls)
    try:
        yield backend
    finally:
        backend.close()
