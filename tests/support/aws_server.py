"""Bedrock's and SageMaker's runtimes on a real socket: bodies and event streams with known answers."""

from __future__ import annotations

import base64
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

Json = dict[str, Any]
Event = tuple[str, bytes]

_USAGE: Final = {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18}
_MESSAGE: Final = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "hello\nthere"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 11, "output_tokens": 7},
}
_CONVERSATION: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hello\nthere"}]}},
    "stopReason": "end_turn",
    "usage": _USAGE,
    "metrics": {"latencyMs": 5},
}


def _conversation_events() -> list[Event]:
    parts: list[tuple[str, Json]] = [
        ("messageStart", {"role": "assistant"}),
        *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": t}}) for t in ("hello", "there")),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": _USAGE, "metrics": {"latencyMs": 5}}),
    ]
    return [(kind, json.dumps(part).encode()) for kind, part in parts]


def _invocation_events() -> list[Event]:
    start = {**_MESSAGE, "content": [], "usage": {"input_tokens": 11, "output_tokens": 0}}
    parts: list[Json] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 11}},
    ]
    return [
        ("chunk", json.dumps({"bytes": base64.b64encode(json.dumps(part).encode()).decode()}).encode())
        for part in parts
    ]


def _endpoint_events() -> list[Event]:
    return [("PayloadPart", text) for text in (b'{"generated": "hello', b' there"}')]


#: The answers by the end of the path.
_BODIES: Final = {"/converse": _CONVERSATION, "/invoke": _MESSAGE, "/invocations": [{"text": "hello\nthere"}]}
_STREAMS: Final = {
    "/converse-stream": _conversation_events,
    "/invoke-with-response-stream": _invocation_events,
    "/invocations-response-stream": _endpoint_events,
}


def frame(kind: str, payload: bytes) -> bytes:
    """A message of AWS's event streams: lengths and checksums around headers and a payload."""
    media = "application/octet-stream" if kind == "PayloadPart" else "application/json"
    headers = b""
    for name, value in {":event-type": kind, ":content-type": media, ":message-type": "event"}.items():
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value))
        headers += value.encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        end = "/" + self.path.rpartition("/")[2]
        if end in _STREAMS:
            kind = "application/vnd.amazon.eventstream"
            answer = b"".join(frame(*event) for event in _STREAMS[end]())
        else:
            kind, answer = "application/json", json.dumps(_BODIES[end], indent=1).encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("x-amzn-bedrock-content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self._headers_buffer.append(b"\r\n" + answer)  # in one packet
        self.flush_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The same for every answer, which clients hand on."""
        return "Thu, 01 Jan 2026 00:00:00 GMT"

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def aws_server() -> Iterator[str]:
    """The URL of a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
