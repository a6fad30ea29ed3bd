"""An OTLP/HTTP receiver on a real socket with scripted responses."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.support.http_server import PromptHandler
from tests.support.waiting import HANG


@dataclass(frozen=True)
class Received:
    """One received span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, dict[str, Any]]]
    status_code: int
    status_message: str
    resource: dict[str, Any]
    scope: str


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: Seconds to wait before responding; -1 never responds and keeps the connection open.
    delay: float = 0.0
    #: Close the connection without a response.
    hang_up: bool = False
    #: Keep the spans although the response does not say so.
    stores: bool = False


class OtlpServer:
    """Stores requests answered with 2xx; `reply` decides each response.

    Without `listens` connections are refused until `listen` is called.
    """

    def __init__(self, *, listens: bool = True) -> None:
        self.spans: list[Received] = []
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.reply: Callable[[int], Reply] = lambda _: Reply()
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(), bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.server_bind()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.traces_url = f"{self.url}/v1/traces"
        self._listens = False
        if listens:
            self.listen()

    def listen(self) -> None:
        """Accept connections from now on."""
        self._listens = True
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def requests(self) -> int:
        return len(self.raw)

    @property
    def bytes(self) -> bytes:
        """All received bodies, decompressed, for searching."""
        return b"\n".join(self.raw)

    def named(self, name: str) -> list[Received]:
        return [span for span in list(self.spans) if span.name == name]

    def wait_for(self, count: int, timeout: float = HANG) -> list[Received]:
        """The spans, once at least `count` have arrived or time runs out."""
        until = time.monotonic() + timeout
        while len(self.spans) < count and time.monotonic() < until:
            time.sleep(0.01)
        return list(self.spans)

    def close(self) -> None:
        self.closing.set()
        if self._listens:
            self._server.shutdown()
        self._server.server_close()

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        encoding = headers.get("content-encoding", "")
        plain = (
            gzip.decompress(body)
            if encoding == "gzip"
            else zlib.decompress(body)
            if encoding == "deflate"
            else body
        )
        with self._lock:
            number = len(self.raw)
            self.raw.append(plain)
            self.headers.append(headers)
            self.paths.append(path)
            reply = self.reply(number)
            accepts = 200 <= reply.status < 300 and not reply.hang_up and reply.delay >= 0
            if accepts or reply.stores:
                self.spans.extend(_spans(plain))
        return reply

    def _handler(outer) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has its own `self` inside
        class Handler(PromptHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                reply = outer._take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                if reply.delay < 0:
                    outer.closing.wait(60)
                    return
                if reply.delay:
                    outer.closing.wait(reply.delay)
                if reply.hang_up:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for key, value in reply.headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(reply.body)))
                with suppress(ConnectionError):  # the process that asked may be gone
                    self.end_headers()
                    self.wfile.write(reply.body)

        return Handler


@contextmanager
def otlp_server(*, listens: bool = True) -> Iterator[OtlpServer]:
    server = OtlpServer(listens=listens)
    try:
        yield server
    finally:
        server.close()


def _spans(body: bytes) -> Iterator[Received]:
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield Received(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    attributes=_attributes(span.attributes),
                    events=[(event.name, _attributes(event.attributes)) for event in span.events],
                    links=[(link.span_id.hex(), _attributes(link.attributes)) for link in span.links],
                    status_code=span.status.code,
                    status_message=span.status.message,
                    resource=resource,
                    scope=scope_spans.scope.name,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
