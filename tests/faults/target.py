"""A backend that fails as told, and accepts spans at the same address before and afterwards."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REFUSES: Final = "refuses connections"
HANGS: Final = "hangs"
UNAVAILABLE: Final = "answers 503"
BUSY: Final = "answers 429"
SLOW: Final = "takes 500 ms"
KEEPS: Final = "keeps a batch and hangs up"
#: What is answered, by behavior.
_STATUS: Final = {UNAVAILABLE: 503, BUSY: 429}
#: Behaviors in which spans count as arrived, and those in which nothing is answered.
_ACCEPTING: Final = ("", SLOW, KEEPS)
_SILENT: Final = (HANGS, KEEPS, REFUSES, "closed")
#: logfire asks for its project.
_PROJECT: Final = b'{"project_name": "bench", "project_url": ""}'


class Target:
    """Counts the copies of each span, by id, in requests that it accepts or keeps."""

    def __init__(self) -> None:
        self.copies: Counter[str] = Counter()
        self.behavior = ""
        self._changed = threading.Condition()
        self.connections: set[socket.socket] = set()
        self._server = self._bound(0)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._listen()

    def behave(self, behavior: str = "") -> None:
        """Fail in one of the ways above from now on, or accept everything."""
        was, self.behavior = self.behavior, behavior
        with self._changed:
            self._changed.notify_all()
        if behavior == REFUSES != was:
            self._stop()
            self._server = self._bound(self.port)  # nobody else gets the port meanwhile
        elif was == REFUSES != behavior:
            self._listen()

    def close(self) -> None:
        was, self.behavior = self.behavior, "closed"
        with self._changed:
            self._changed.notify_all()
        if was == REFUSES:
            self._server.server_close()
        else:
            self._stop()

    def _bound(self, port: int) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"target": self})
        server = ThreadingHTTPServer(("127.0.0.1", port), handler, bind_and_activate=False)
        server.daemon_threads = True
        server.server_bind()
        return server

    def _listen(self) -> None:
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take(self, body: bytes) -> None:
        """Count the spans of a request."""
        ids = [
            span.span_id.hex()
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self.copies.update(ids)

    def await_change(self, seconds: float | None) -> None:
        """Wait until the target behaves otherwise, or for some seconds."""
        behavior = self.behavior
        with self._changed:
            self._changed.wait_for(lambda: self.behavior != behavior, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    target: Target

    def setup(self) -> None:
        self.target.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.target.connections.discard(self.request)
        with suppress(OSError):  # the process that asked may be gone
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        self._answer(200, _PROJECT)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        behavior = self.target.behavior
        if behavior in _ACCEPTING:
            self.target.take(_plain(sent, self.headers.get("content-encoding", "")))
        if behavior in (HANGS, SLOW):
            self.target.await_change(None if behavior == HANGS else 0.5)
        if behavior in _SILENT:
            self.close_connection = True
        else:
            self._answer(_STATUS.get(behavior, 200), b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


@contextmanager
def target() -> Iterator[Target]:
    """A target that ends with the block."""
    running = Target()
    try:
        yield running
    finally:
        running.close()
