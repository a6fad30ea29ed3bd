"""A model provider on a real socket whose answers have the usage of a given shape.

The model of a request names the shape; the answer's model is that name with a date.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.support.llm_server import (
    KEY,
    _chat,
    _chat_chunks,
    _embeddings,
    _message,
    _message_events,
    _response,
    _response_events,
    _stream,
)

Json = dict[str, Any]
DATE: Final = "-2026-08-06"


def _openai(cached: int = 0, reasoning: int = 0, audio: tuple[int, int] = (0, 0)) -> Json:
    """100 tokens in, 1,000 out, of which some are of these kinds."""
    return {
        "prompt_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio[0]},
        "completion_tokens": 1000,
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio[1]},
        "total_tokens": 1100,
    }


def _anthropic(read: int = 0, written: int = 0, hour: int = 0) -> Json:
    """100 tokens in beside those of the cache, 1,000 out."""
    return {
        "input_tokens": 100,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - hour,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": 1000,
    }


OPENAI: Final[dict[str, Json]] = {
    "plain": _openai(),
    "cached": _openai(cached=40),
    "reasoning": _openai(cached=40, reasoning=900),
    "audio": _openai(audio=(30, 500)),
}
ANTHROPIC: Final[dict[str, Json]] = {
    "plain": _anthropic(),
    "cached": _anthropic(read=40),
    "written": _anthropic(read=40, written=30),
    "hour": _anthropic(written=30, hour=20),
    "deltas": _anthropic(),
}


def _shape(body: Json) -> tuple[str, Json]:
    """The shape that a request names, and the request with the model of its answer."""
    model = str(body["model"])
    return model.rpartition("/")[2], {**body, "model": model + DATE}


def _answer(path: str, given: Json) -> Json | list[Json]:
    shape, body = _shape(given)
    if path.endswith("/messages"):
        return _of_anthropic(ANTHROPIC[shape], body, deltas=2 if shape == "deltas" else 1)
    usage = OPENAI[shape]
    if path.endswith("/chat/completions"):
        if not body.get("stream"):
            return {**_chat(body), "usage": usage}
        chunks = _chat_chunks(body)
        return [{**chunk, "usage": usage} if chunk.get("usage") else chunk for chunk in chunks]
    if path.endswith("/embeddings"):
        return {**_embeddings(body), "usage": {"prompt_tokens": 100, "total_tokens": 100}}
    renamed = {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": usage["completion_tokens_details"],
        "total_tokens": usage["total_tokens"],
    }
    if not body.get("stream"):
        return {**_response(body), "usage": renamed}
    events = _response_events(body)
    events[-1]["response"]["usage"] = renamed
    return events


def _of_anthropic(usage: Json, body: Json, deltas: int) -> Json | list[Json]:
    """A stream begins with a few tokens of output, and each delta has the output so far."""
    if not body.get("stream"):
        return {**_message(body), "usage": usage}
    events = _message_events(body)
    events[0]["message"]["usage"] = {**usage, "output_tokens": 3}
    last = next(event for event in events if event["type"] == "message_delta")
    last["usage"] = {name: count for name, count in usage.items() if name != "cache_creation"}
    earlier = {**last, "usage": {"output_tokens": 500}, "delta": {"stop_reason": None, "stop_sequence": None}}
    return [*events[:-2], *[earlier] * (deltas - 1), *events[-2:]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        answer = _answer(self.path.partition("?")[0], body)
        stream = isinstance(answer, list)
        sent = _stream(answer) if isinstance(answer, list) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def usage_server() -> Iterator[dict[str, str]]:
    """Environment variables that point clients at the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield {
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_BASE": url,
            "ANTHROPIC_API_KEY": KEY,
        }
    finally:
        server.shutdown()
        server.server_close()
