"""A model provider on a real socket: the OpenAI and Anthropic protocols, with known responses.

A model called `fail-<status>` answers with that status, and its error echoes the prompt and the key,
as gateways do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.http_server import PromptHandler

#: Texts that must never appear in exported data.
PROMPT = "PROMPT-CANARY-7f3a"
SYSTEM = "SYSTEM-CANARY-11bd"
ANSWER = "ANSWER-CANARY-92c4"
KEY = "sk-KEYCANARY5d81aa"
CANARIES = (PROMPT, SYSTEM, ANSWER, KEY)

#: Token counts of every response.
INPUT_TOKENS = 11
OUTPUT_TOKENS = 7

_CHAT_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


_Answer = Callable[[dict[str, Any]], dict[str, Any]]
_Events = Callable[[dict[str, Any]], list[dict[str, Any]]]


class LlmServer:
    """Counts requests and records their headers and bodies."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that point clients at this server."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": KEY,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def llm_server() -> Iterator[LlmServer]:
    server = LlmServer()
    try:
        yield server
    finally:
        server.close()


def _handler(server: LlmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(PromptHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.paths.append(self.path)
            server.headers.append(headers)
            server.bodies.append(raw)
            body = json.loads(raw or b"{}")
            model = str(body.get("model", ""))
            if model.startswith("fail-"):
                key = headers.get("authorization") or headers.get("x-api-key")
                text = f"cannot process {raw.decode()} with key {key}"
                self._json({"type": "error", "error": {"type": "t", "message": text}}, int(model[5:8]))
                return
            for path, answer, events in _PATHS:
                if self.path.endswith(path):
                    if body.get("stream"):
                        self._send(_stream(events(body)), "text/event-stream", 200)
                    else:
                        self._json(answer(body))
                    return
            self._json({"error": {"message": "no such path"}}, 404)

        def _json(self, answer: dict[str, Any], status: int = 200) -> None:
            self._send(json.dumps(answer).encode(), "application/json", status)

        def _send(self, answer: bytes, kind: str, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    return Handler


def _stream(events: list[dict[str, Any]]) -> bytes:
    lines = []
    for event in events:
        if "type" in event:
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {json.dumps(event)}\n\n")
    if "choices" in events[0]:
        lines.append("data: [DONE]\n\n")
    return "".join(lines).encode()


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": ANSWER}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _CHAT_USAGE,
    }


def _chat_chunks(body: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ANSWER[:6]}, None),
        ({"content": ANSWER[6:]}, None),
        ({}, "stop"),
    ]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": _CHAT_USAGE})
    return chunks


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": "list",
        "model": body["model"],
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3]}],
        "usage": {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS},
    }


def _response(body: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "output_text", "text": ANSWER, "annotations": []}
    output = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": body["model"],
        "output": [output],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    }


def _response_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "response.created",
            "sequence_number": 0,
            "response": {**_response(body), "status": "in_progress", "output": [], "usage": None},
        },
        {
            "type": "response.output_text.delta",
            "sequence_number": 1,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": ANSWER,
            "logprobs": [],
        },
        {"type": "response.completed", "sequence_number": 2, "response": _response(body)},
    ]


def _message(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }


def _message_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    start = {**_message(body), "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": INPUT_TOKENS, "output_tokens": 0}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": OUTPUT_TOKENS},
        },
        {"type": "message_stop"},
    ]


_PATHS: tuple[tuple[str, _Answer, _Events], ...] = (
    ("/chat/completions", _chat, _chat_chunks),
    ("/embeddings", _embeddings, lambda _: []),
    ("/responses", _response, _response_events),
    ("/messages", _message, _message_events),
)
