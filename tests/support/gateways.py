"""Streams of model gateways that differ from the protocol they speak, served on a real socket.

The model of a request has the form `<dialect>-<place>`: which deviation, and whether in the middle of the
stream or at its end.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any, Final

from tests.support.http_server import PromptHandler
from tests.support.llm_server import _chat_chunks, _message_events, _response_events

DIALECTS: Final = ("null", "missing", "empty", "extra", "usage_only", "error", "keep_alive")
PLACES: Final = ("middle", "end")
MODELS: Final = ("plain", *(f"{dialect}-{place}" for dialect in DIALECTS for place in PLACES))


def _completion_chunks(body: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
    return [
        {**head, "choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}]}
        for text, reason in (("one", None), ("two", None), ("", "stop"))
    ]


def _ollama_lines(body: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
    texts = [{"role": "assistant", "content": text} for text in ("one", "two")]
    last = {"done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 7}
    return [
        *({**head, "message": text, "done": False} for text in texts),
        {**head, "message": {"role": "assistant", "content": ""}, **last},
    ]


def _gemini_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    def candidate(text: str, **more: Any) -> dict[str, Any]:
        return {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}

    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    return [
        {"candidates": [candidate("one")]},
        {"candidates": [candidate("two")]},
        {"candidates": [candidate("", finishReason="STOP")], "usageMetadata": usage},
    ]


def _cohere_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "one"}}}},
        {"type": "content-end", "index": 0},
        {
            "type": "message-end",
            "delta": {
                "finish_reason": "COMPLETE",
                "usage": {"tokens": {"input_tokens": 11, "output_tokens": 7}},
            },
        },
    ]


#: By path: the events, and the fields that a deviation concerns, of which the first is present counts.
_PATHS: Final[tuple[tuple[str, Any, tuple[str, ...]], ...]] = (
    ("/chat/completions", _chat_chunks, ("choices",)),
    ("/completions", _completion_chunks, ("choices",)),
    ("/responses", _response_events, ("response", "delta")),
    ("/messages", _message_events, ("message", "delta", "content_block")),
    ("/api/chat", _ollama_lines, ("message",)),
    ("/v2/chat", _cohere_events, ("delta",)),
    (":streamGenerateContent", _gemini_events, ("candidates",)),
)


def _deviant(event: dict[str, Any], fields: tuple[str, ...], dialect: str) -> dict[str, Any] | None:
    event = copy.deepcopy(event)
    field = next((name for name in fields if name in event), fields[0])
    if dialect == "null":
        event[field] = None
    elif dialect == "missing":
        event.pop(field, None)
    elif dialect == "empty":
        event[field] = type(event.get(field, {}))()
    elif dialect == "extra":
        event["x_gateway"] = {"cost": [1, None]}
        inner = event.get(field)
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                each["x_more"] = [None, {"deep": True}]
    elif dialect == "usage_only":
        return {"usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}
    elif dialect == "error":
        return {"error": {"message": "overloaded", "type": "server_error", "code": None}}
    elif dialect == "keep_alive":
        return None
    return event


def stream(path: str, body: dict[str, Any], model: str) -> bytes:
    """The bytes of the answer to a streaming request."""
    make, fields = next((make, fields) for end, make, fields in _PATHS if path.endswith(end))
    events: list[dict[str, Any] | None] = list(make({**body, "model": model}))
    dialect, _, place = model.partition("-")
    if place:
        at = len(events) - 1 if place == "end" else len(events) // 2
        original = events[at]
        assert original is not None
        events.insert(at, _deviant(original, fields, dialect))
        if dialect in {"null", "missing", "empty"}:
            del events[at + 1]
    if path.endswith("/api/chat"):
        return b"".join(b"\n" if event is None else json.dumps(event).encode() + b"\n" for event in events)
    lines = []
    for event in events:
        if event is None:
            lines.append(": keep-alive\n\n")
            continue
        if "type" in event and "choices" not in event:
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {json.dumps(event)}\n\n")
    if fields == ("choices",):
        lines.append("data: [DONE]\n\n")
    return "".join(lines).encode()


@contextmanager
def gateway(bodies: list[bytes] | None = None) -> Iterator[str]:
    """The URL of a running gateway, which adds what it gets to `bodies`."""

    class Handler(_Handler):
        received = [] if bodies is None else bodies

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(PromptHandler):
    received: list[bytes]

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.received.append(raw)
        body = json.loads(raw or b"{}")
        path = self.path.partition("?")[0]
        model = body.get("model") or path.rpartition("/")[2].partition(":")[0]
        answer = stream(path, body, model)
        self.send_response(200)
        kind = "application/x-ndjson" if path.endswith("/api/chat") else "text/event-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self._headers_buffer.append(b"\r\n" + answer)  # in one packet
        self.flush_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The same for every answer, which some clients hand on."""
        return "Thu, 01 Jan 2026 00:00:00 GMT"
