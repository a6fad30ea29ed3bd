"""A backend in a process of its own: it answers at once, keeps what it got, and parses it when asked.

It takes spans at any path, and answers a chat completion like OpenAI's.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

_MESSAGES = ("gen_ai.input.messages", "gen_ai.output.messages")
_ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "An answer."}}
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
).encode()


@dataclass(frozen=True)
class Arrived:
    """What has arrived since the last question: distinct spans, and characters of model messages."""

    spans: int
    characters: int
    bytes: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # one packet for each answer: with two, a client waits for the second
    wbufsize = 1 << 16
    bodies: ClassVar[list[bytes]] = []
    lock = threading.Lock()

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/chat/completions"):
            self._answer(_ANSWER, "application/json")
            return
        with _Handler.lock:
            _Handler.bodies.append(body)
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        if self.path != "/arrived":
            # `benchmarks.start` asks `/` for a number, logfire another path for its project
            answer = b"0" if self.path == "/" else b'{"project_name": "bench", "project_url": ""}'
            self._answer(answer, "application/json")
            return
        with _Handler.lock:
            bodies, _Handler.bodies = _Handler.bodies, []
        self._answer(json.dumps(_parsed(bodies)).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _parsed(bodies: list[bytes]) -> dict[str, int]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found: dict[tuple[bytes, bytes], int] = {}
    for body in bodies:
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        for resource in ExportTraceServiceRequest.FromString(plain).resource_spans:
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                texts = {one.key: one.value.string_value for one in span.attributes}
                if texts.get("logfire.span_type") != "pending_span":  # logfire's note that a span has started
                    found[span.trace_id, span.span_id] = sum(len(texts.get(key, "")) for key in _MESSAGES)
    return {"spans": len(found), "characters": sum(found.values()), "bytes": sum(map(len, bodies))}


@contextmanager
def sink() -> Iterator[str]:
    """Run a sink and yield its address."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def arrived(address: str) -> Arrived:
    """Parse and forget what has arrived."""
    with urllib.request.urlopen(f"{address}/arrived", timeout=300) as answer:  # noqa: S310, our own sink
        return Arrived(**json.loads(answer.read()))


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
