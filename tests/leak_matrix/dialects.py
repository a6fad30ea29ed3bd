"""The answers of providers with protocols of their own: ollama, cohere, Gemini, Bedrock."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Say = Callable[[str], str]
#: The model's name stands in the path of requests to Gemini and Bedrock.
_MODEL = re.compile(r"/models?/(?P<model>[^/:]+?)(?::\w+|/\w[\w-]*)$")


def model_of(path: str, body: Json) -> str:
    """The name of the model that a request asks."""
    found = _MODEL.search(path)
    return str(body.get("model") or (found["model"] if found else ""))


def answer(path: str, body: Json, say: Say) -> Json | None:
    """The answer in the path's own protocol, or None for the protocols that many providers share."""
    if path in ("/api/chat", "/api/generate", "/api/embed"):
        return _ollama(path, body, say)
    if path.startswith("/v2/") or path in ("/v1/rerank", "/v1/chat", "/v1/generate", "/v1/embed"):
        return _cohere(path, say)
    if "generateContent" in path.partition("?")[0]:
        return _gemini(body, say)
    if path.startswith("/model/"):
        return _converse(body, say) if path.endswith("/converse") else _invoke(say)
    return None


def stream(path: str, body: Json, say: Say) -> tuple[str, bytes] | None:
    """The media type and the body of a streamed answer in the path's own protocol, else None."""
    if path in ("/api/chat", "/api/generate") and body.get("stream"):
        parts = [{**_ollama(path, body, say), "done": False}, _ollama(path, {**body, "end": True}, say)]
        return "application/x-ndjson", "".join(json.dumps(part) + "\n" for part in parts).encode()
    if path == "/v2/chat" and body.get("stream"):
        return "text/event-stream", "".join(map(_event, _cohere_events(say))).encode()
    if "streamGenerateContent" in path:
        return "text/event-stream", f"data: {json.dumps(_gemini(body, say))}\n\n".encode()
    if path.endswith("/converse-stream"):
        frames = b"".join(_frame(kind, part) for kind, part in _converse_events(say))
        return "application/vnd.amazon.eventstream", frames
    return None


def _ollama(path: str, body: Json, say: Say) -> Json:
    text = "" if body.get("end") else say("answer")
    if path == "/api/embed":
        return {"model": body["model"], "embeddings": [[0.1, 0.2]], "prompt_eval_count": 11}
    counts = {"prompt_eval_count": 11, "eval_count": 7, "total_duration": 5, "eval_duration": 5}
    done = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop"}
    if path == "/api/generate":
        return {**done, "response": text, "context": [1, 2], **counts}
    message: Json = {"role": "assistant", "content": text}
    said = json.dumps(body.get("messages"))
    if body.get("model") == "caller" and body.get("tools") and '"tool"' not in said:
        name = body["tools"][0]["function"]["name"]
        message["tool_calls"] = [{"function": {"name": name, "arguments": {"query": say("arguments")}}}]
    return {**done, "message": message, **counts}


def _cohere(path: str, say: Say) -> Json:
    usage = {"billed_units": {"input_tokens": 11, "output_tokens": 7}}
    usage["tokens"] = {"input_tokens": 11, "output_tokens": 7}
    meta = {"api_version": {"version": "1"}, "billed_units": usage["billed_units"]}
    if path.endswith("rerank"):
        return {"id": "rr-1", "results": [{"index": 0, "relevance_score": 0.9}], "meta": meta}
    if path.endswith("embed"):
        return {"id": "em-1", "embeddings": {"float": [[0.1, 0.2]]}, "texts": ["a"], "meta": meta}
    if path == "/v1/chat":
        return {
            "response_id": "re-1", "generation_id": "ge-1", "text": say("answer"), "chat_history": [],
            "finish_reason": "COMPLETE", "meta": meta,
        }  # fmt: skip
    message = {"role": "assistant", "content": [{"type": "text", "text": say("answer")}]}
    return {"id": "re-1", "finish_reason": "COMPLETE", "message": message, "usage": usage}


def _cohere_events(say: Say) -> list[Json]:
    usage = _cohere("/v2/chat", say)["usage"]
    content = {"content": {"type": "text", "text": ""}}
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    return [
        {"type": "message-start", "id": "re-1", "delta": {"message": start}},
        {"type": "content-start", "index": 0, "delta": {"message": content}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": say("answer")}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]


def _event(event: Json) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _gemini(body: Json, say: Say) -> Json:
    part: Json = {"text": say("answer")}
    tools = (body.get("tools") or [{}])[0].get("functionDeclarations") or []
    if tools and "functionResponse" not in json.dumps(body["contents"]):
        part = {"functionCall": {"name": tools[0]["name"], "args": {"query": say("arguments")}}}
    content = {"role": "model", "parts": [part]}
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    return {
        "candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash",
        "responseId": "resp-1",
    }  # fmt: skip


def _converse(body: Json, say: Say) -> Json:
    content: Json = {"text": say("answer")}
    tools = (body.get("toolConfig") or {}).get("tools")
    if tools and "toolResult" not in json.dumps(body["messages"]):
        name = tools[0]["toolSpec"]["name"]
        content = {"toolUse": {"toolUseId": "tool_1", "name": name, "input": {"query": say("arguments")}}}
    return {
        "output": {"message": {"role": "assistant", "content": [content]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18},
        "metrics": {"latencyMs": 5},
    }


def _invoke(say: Say) -> Json:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": say("answer")}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }  # fmt: skip


def _converse_events(say: Say) -> list[tuple[str, Json]]:
    usage = {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18}
    return [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": say("answer")}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": usage, "metrics": {"latencyMs": 5}}),
    ]


def _frame(kind: str, part: Json) -> bytes:
    """A message of AWS's event streams: lengths and checksums around headers and a JSON text."""
    headers = b""
    names = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    for name, value in names.items():
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value))
        headers += value.encode()
    payload = json.dumps(part).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))
