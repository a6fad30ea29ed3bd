"""A model provider on a real socket that sends what a test tells it to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import llm_server


class ScriptedProvider:
    """Sends `parts` as the answer to each request, and waits for `go` after the first of them."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.headers = {"Content-Type": "application/json"}
        self.go = threading.Event()
        self.is_cut = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, *parts: Any, waits: bool = False, **headers: str) -> None:
        """Objects are sent as JSON, lists as the events of a stream."""
        streams = any(isinstance(part, list) for part in parts)
        self.parts = [encoded(part) for part in parts]
        self.headers = {"Content-Type": "text/event-stream" if streams else "application/json", **headers}
        if waits:
            self.go.clear()
        else:
            self.go.set()

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                for name, value in provider.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for part in provider.parts:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.flush()
                    provider.go.wait(60)
                if provider.is_cut:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        return Handler


def encoded(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    return llm_server._stream(part) if isinstance(part, list) else json.dumps(part).encode()
