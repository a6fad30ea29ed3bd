"""A model provider and web server that answers with the running case's canaries and echoes its input.

The model name selects the behavior: `fail-<status>` fails, `wrong-200` returns an error with HTTP 200,
`broken` breaks off mid-stream, `caller` asks for the first tool of the request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.leak_matrix import dialects
from tests.support.http_server import PromptHandler

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
Json = dict[str, Any]


class Provider:
    """Listens on loopback. `say` makes the text of a field for the current case."""

    def __init__(self) -> None:
        self.say: Callable[[str], str] = lambda field: field
        self.headers: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, body: Json) -> Json:
        own = dialects.answer(path, body, self.say)
        if own is not None:
            return own
        if "embeddings" in path:
            return _embeddings(body)
        if "responses" in path:
            return _response(body, self.say)
        if "messages" in path:
            return _message(body, self.say)
        return _chat(body, self.say)

    def events(self, path: str, body: Json) -> list[Json]:
        if "responses" in path:
            return _response_events(body, self.say)
        if "messages" in path:
            return _message_events(body, self.say)
        return _chunks(body, self.say)


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - counts the methods inside
    class Handler(PromptHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            provider.headers.append(str(self.headers))
            try:
                body = json.loads(raw)
            except ValueError:
                body = {}
            path = self.path.partition("?")[0]
            model = dialects.model_of(path, body) if isinstance(body, dict) else ""
            if path.startswith("/web/"):
                self._web(path, raw)
            elif model.startswith("fail-"):
                self._json(self._echo(raw), int(model[5:8]))
            elif model == "wrong-200":
                self._json(self._echo(raw))
            elif (own := dialects.stream(path, body, provider.say)) is not None:
                self._send(own[1], own[0], 200)
            elif body.get("stream"):
                self._stream(provider.events(path, body), broken=model == "broken")
            else:
                self._json(provider.answer(path, body))

        do_GET = do_PUT = do_POST  # noqa: N815

        def _echo(self, raw: bytes) -> Json:
            key = self.headers.get("authorization") or self.headers.get("x-api-key")
            message = f"cannot process {raw.decode()} with key {key} at {self.path}: {provider.say('error')}"
            return {"type": "error", "error": {"type": "invalid_request", "message": message, "code": "bad"}}

        def _web(self, path: str, raw: bytes) -> None:
            status = int(path.split("/")[2])
            if status in (301, 302):
                return self._send(b"", "text/plain", status, {"Location": "/web/200/next" + self.path})
            if status == 0:
                self.close_connection = True
                return None
            return self._send(self._echo(raw)["error"]["message"].encode(), "text/plain", status)

        def _json(self, answer: Json, status: int = 200) -> None:
            self._send(json.dumps(answer).encode(), "application/json", status)

        def _stream(self, events: list[Json], *, broken: bool) -> None:
            lines = []
            for event in events[: 2 if broken else None]:
                head = f"event: {event['type']}\n" if "type" in event else ""
                lines.append(f"{head}data: {json.dumps(event)}\n\n")
            if "choices" in events[0] and not broken:
                lines.append("data: [DONE]\n\n")
            data = "".join(lines).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(data) + (50 if broken else 0)))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = broken

        def _send(self, answer: bytes, kind: str, status: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

    return Handler


Say = Callable[[str], str]


def _called(body: Json) -> str | None:
    """The tool to call: the first one, unless its result is already present."""
    tools = body.get("tools") or []
    said = json.dumps(body.get("messages") or body.get("input") or [])
    if body.get("model") != "caller" or not tools or '"tool"' in said or "tool_result" in said:
        return None
    tool = tools[0]
    return str(tool.get("function", tool).get("name"))


def _arguments(say: Say) -> str:
    return json.dumps({"query": say("arguments")})


def _chat(body: Json, say: Say) -> Json:
    message: Json = {"role": "assistant", "content": say("answer")}
    reason, tool = "stop", _called(body)
    if body.get("response_format"):
        message["content"] = json.dumps({"text": say("answer")})
    if tool is not None:
        call = {"name": tool, "arguments": _arguments(say)}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
        reason = "tool_calls"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": USAGE,
    }


def _chunks(body: Json, say: Say) -> list[Json]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    answer = say("answer")
    deltas: list[tuple[Json, str | None]] = [
        ({"role": "assistant", "content": answer[:9]}, None),
        ({"content": answer[9:]}, None),
        ({}, "stop"),
    ]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": d, "finish_reason": reason}]} for d, reason in deltas
    ]
    return [*chunks, {**head, "choices": [], "usage": USAGE}]


def _embeddings(body: Json) -> Json:
    data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3]}]
    usage = {"prompt_tokens": 11, "total_tokens": 11}
    return {"id": "emb-1", "object": "list", "model": body["model"], "data": data, "usage": usage}


def _response(body: Json, say: Say) -> Json:
    text = {"type": "output_text", "text": say("answer"), "annotations": []}
    output: Json = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    output["content"] = [text]
    tool = _called(body)
    if tool is not None:
        output = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed"}
        output |= {"name": tool, "arguments": _arguments(say)}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": body["model"],
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "output": [output],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 18,
        },
    }


def _response_events(body: Json, say: Say) -> list[Json]:
    started = {**_response(body, say), "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    return [
        {"type": "response.created", "sequence_number": 0, "response": started},
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": say("answer"), **place},
        {"type": "response.completed", "sequence_number": 2, "response": _response(body, say)},
    ]


def _message(body: Json, say: Say) -> Json:
    content: list[Json] = [{"type": "text", "text": say("answer")}]
    tool = _called(body)
    if tool is not None:
        content = [{"type": "tool_use", "id": "toolu_1", "name": tool, "input": {"query": say("arguments")}}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }


def _message_events(body: Json, say: Say) -> list[Json]:
    start = {**_message(body, say), "content": [], "stop_reason": None}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    delta = {"type": "text_delta", "text": say("answer")}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
