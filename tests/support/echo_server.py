"""A server that records the requests it gets."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer

from tests.support.http_server import PromptHandler


class Echo:
    """A server that records the headers and body of each request; /to/<url> redirects.

    `lines` holds the headers as they arrived; `X-Position` of an answer is the request's place in the lists.
    With `together` set, requests are answered when all its parties have arrived.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.lines: list[list[tuple[str, str]]] = []
        self.together: threading.Barrier | None = None
        self.bodies: list[bytes] = []
        self.status = 200
        self._lock = threading.Lock()
        outer = self

        class Handler(PromptHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer._lock:
                    position = len(outer.requests)
                    outer.bodies.append(body)
                    outer.lines.append(self.headers.items())
                    outer.requests.append({name.lower(): value for name, value in self.headers.items()})
                if outer.together is not None:
                    outer.together.wait(60)
                target = self.path.partition("/to/")[2]
                self.send_response(302 if target else outer.status)
                if target:
                    self.send_header("Location", target)
                self.send_header("X-Position", str(position))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_CONNECT = do_POST = do_GET  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
