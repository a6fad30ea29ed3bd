"""POST /v1/responses: convert requests to a `ModelTask` and replies to response objects and events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from somatrace.modelserver import request_parts
from somatrace.modelserver.answers import answer, input_tokens, output_tokens
from somatrace.modelserver.protocol import CREATED, ApiError, Fields, encode, request_id
from somatrace.modelserver.task import Message, ModelTask, Reply
from somatrace.modelserver.text import tokens


def task(fields: Fields) -> ModelTask:
    """The task of a responses request; raises `ApiError` 400 if malformed or if it relies on stored state."""
    if fields.values.get("previous_response_id") is not None or fields.values.get("conversation") is not None:
        raise ApiError(400, "This server is stateless: send the whole conversation as 'input'.")
    messages = _messages(fields)
    if not 0 < len(messages) <= request_parts.MAX_MESSAGES:
        raise fields.error("input", f"text or 1 to {request_parts.MAX_MESSAGES} items")
    tools = tuple(
        request_parts.tool(each) for each in fields.objects("tools") if each.text("type") == "function"
    )
    if len(tools) > request_parts.MAX_TOOLS:
        raise fields.error("tools", f"at most {request_parts.MAX_TOOLS} tools")
    choice = fields.values.get("tool_choice")
    chosen = str(choice.get("name")) if isinstance(choice, dict) else ""
    text = fields.object("text")
    wanted = text.object("format") if text else None
    return ModelTask(
        messages=tuple(messages),
        tools=tools,
        tool_choice=request_parts.tool_choice(choice, chosen, tools),
        schema=request_parts.schema(wanted.text("type"), wanted, messages, "text.format") if wanted else None,
        max_tokens=fields.integer("max_output_tokens", 1, request_parts.MAX_TOKENS),
    )


def response(fields: Fields, asked: ModelTask) -> dict[str, Any]:
    """The complete answer as one object."""
    return _whole(fields, asked, answer(asked))


def events(fields: Fields, asked: ModelTask) -> Iterator[bytes]:
    """The answer as server-sent events, each with its type and sequence number."""
    reply = answer(asked)
    whole = _whole(fields, asked, reply)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    steps = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *(_call_steps(whole["output"][0]) if reply.tool else _text_steps(whole["output"][0])),
        {"type": f"response.{whole['status']}", "response": whole},
    ]
    for number, step in enumerate(steps):
        kind = str(step["type"]).encode()
        yield b"event: " + kind + b"\ndata: " + encode({**step, "sequence_number": number}) + b"\n\n"


def _text_steps(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = item["content"][0]
    opening = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": opening}
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for piece in tokens(part["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}


def _call_steps(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": 0}
    opening = {**item, "status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": 0, "item": opening}
    for piece in tokens(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    done = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, **done}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}


def _messages(fields: Fields) -> list[Message]:
    messages = []
    if instructions := fields.text("instructions", ""):
        messages.append(Message("system", instructions))
    if isinstance(fields.values.get("input"), str):
        return [*messages, Message("user", fields.text("input"))]
    return messages + [_item(item) for item in fields.objects("input")]


def _item(fields: Fields) -> Message:
    kind = fields.text("type", "message")
    if kind == "message":
        return Message(request_parts.role(fields), request_parts.content(fields, "content"))
    if kind == "function_call":
        return Message("assistant", "", fields.text("name"))
    if kind == "function_call_output":
        return Message("tool", request_parts.content(fields, "output"))
    if kind == "reasoning":
        return Message("assistant", "")
    message = f"'{fields.path('type')}' is '{kind[:40]}': this model does not support it."
    raise ApiError(400, message, param="input")


def _whole(fields: Fields, asked: ModelTask, reply: Reply) -> dict[str, Any]:
    cut = reply.finish == "length"
    prompt, completed = input_tokens(asked), output_tokens(reply)
    text = fields.object("text")
    return {
        "id": f"resp_{request_id(fields)}",
        "object": "response",
        "created_at": CREATED,
        "completed_at": None if cut else CREATED,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": fields.values.get("instructions"),
        "max_output_tokens": asked.max_tokens,
        "metadata": {},
        "model": fields.text("model"),
        "output": [_output_item(fields, reply)],
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "temperature": fields.values.get("temperature"),
        "text": text.values if text else {"format": {"type": "text"}},
        "tool_choice": fields.values.get("tool_choice") or "auto",
        "tools": fields.values.get("tools") or [],
        "top_p": fields.values.get("top_p"),
        "truncation": "disabled",
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": completed,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completed,
        },
    }


def _output_item(fields: Fields, reply: Reply) -> dict[str, Any]:
    number = request_id(fields)
    if reply.tool:
        call = {"call_id": f"call_{number}", "name": reply.tool, "arguments": reply.arguments}
        return {"type": "function_call", "id": f"fc_{number}", "status": "completed", **call}
    return {
        "type": "message",
        "id": f"msg_{number}",
        "status": "incomplete" if reply.finish == "length" else "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}],
    }
