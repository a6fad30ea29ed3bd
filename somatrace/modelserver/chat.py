"""POST /v1/chat/completions: convert requests to a `ModelTask` and replies to completions and chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from somatrace.modelserver import request_parts
from somatrace.modelserver.answers import answer, input_tokens, output_tokens
from somatrace.modelserver.models import MODEL
from somatrace.modelserver.protocol import CREATED, ApiError, Fields, encode, request_id
from somatrace.modelserver.task import Message, ModelTask, Reply
from somatrace.modelserver.text import tokens

_MAX_CHOICES: Final = 8


def task(fields: Fields) -> ModelTask:
    """The task of a chat completion request; raises `ApiError` 400 if malformed."""
    messages = [_message(each) for each in fields.objects("messages")]
    if not 0 < len(messages) <= request_parts.MAX_MESSAGES:
        raise fields.error("messages", f"1 to {request_parts.MAX_MESSAGES} messages")
    tools = tuple(request_parts.tool(_function(each)) for each in fields.objects("tools"))
    if len(tools) > request_parts.MAX_TOOLS:
        raise fields.error("tools", f"at most {request_parts.MAX_TOOLS} tools")
    limit = fields.integer("max_completion_tokens", 1, request_parts.MAX_TOKENS)
    return ModelTask(
        messages=tuple(messages),
        tools=tools,
        tool_choice=request_parts.tool_choice(fields.values.get("tool_choice"), _chosen(fields), tools),
        schema=_schema(fields, messages),
        max_tokens=limit or fields.integer("max_tokens", 1, request_parts.MAX_TOKENS),
        stop=tuple(stop for stop in fields.texts("stop", 4) if stop),
    )


def replies(fields: Fields, asked: ModelTask) -> list[Reply]:
    """`n` different replies, best first."""
    return [answer(asked, index) for index in range(fields.integer("n", 1, _MAX_CHOICES) or 1)]


def completion(fields: Fields, asked: ModelTask) -> dict[str, Any]:
    """The complete answer as one object."""
    given = replies(fields, asked)
    return {
        **_head(fields, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": _answer_message(fields, index, reply),
                "logprobs": None,
                "finish_reason": reply.finish,
            }
            for index, reply in enumerate(given)
        ],
        "usage": _usage(asked, given),
    }


def chunks(fields: Fields, asked: ModelTask) -> Iterator[bytes]:
    """The answer as server-sent events, with usage last if `stream_options` requests it."""
    head = _head(fields, "chat.completion.chunk")
    options = fields.object("stream_options")
    with_usage = options is not None and options.flag("include_usage")
    given = replies(fields, asked)

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**head, "choices": [choice], **({"usage": None} if with_usage else {})})

    for index, reply in enumerate(given):
        yield chunk(index, {"role": "assistant", "content": None if reply.tool else ""})
        if reply.tool:
            call = _tool_call(fields, index, reply)
            opening = {**call, "index": 0, "function": {"name": reply.tool, "arguments": ""}}
            yield chunk(index, {"tool_calls": [opening]})
            for part in tokens(reply.arguments):
                yield chunk(index, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        for part in tokens(reply.text):
            yield chunk(index, {"content": part})
        yield chunk(index, {}, reply.finish)
    if with_usage:
        yield _event({**head, "choices": [], "usage": _usage(asked, given)})
    yield b"data: [DONE]\n\n"


def _message(fields: Fields) -> Message:
    return Message(
        request_parts.role(fields), request_parts.content(fields, "content"), fields.text("name", "")
    )


def _function(fields: Fields) -> Fields:
    definition = fields.object("function")
    if fields.text("type") != "function" or definition is None:
        raise fields.error("type", "'function' and its definition")
    return definition


def _chosen(fields: Fields) -> str:
    value = fields.values.get("tool_choice")
    function = value.get("function") if isinstance(value, dict) else None
    return str(function.get("name")) if isinstance(function, dict) else ""


def _schema(fields: Fields, messages: list[Message]) -> Any:
    wanted = fields.object("response_format")
    if wanted is None:
        return None
    return request_parts.schema(
        wanted.text("type"), wanted.object("json_schema"), messages, "response_format"
    )


def _head(fields: Fields, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request_id(fields)}",
        "object": kind,
        "created": CREATED,
        "model": fields.text("model"),
        "system_fingerprint": MODEL,
        "service_tier": "default",
    }


def _answer_message(fields: Fields, index: int, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.tool:
        message |= {"content": None, "tool_calls": [_tool_call(fields, index, reply)]}
    return message


def _tool_call(fields: Fields, index: int, reply: Reply) -> dict[str, Any]:
    function = {"name": reply.tool, "arguments": reply.arguments}
    return {"id": f"call_{request_id(fields)}_{index}", "type": "function", "function": function}


def _usage(asked: ModelTask, given: list[Reply]) -> dict[str, Any]:
    prompt, completed = input_tokens(asked), sum(output_tokens(reply) for reply in given)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": prompt + completed,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def check(fields: Fields) -> None:
    """Reject options that would be ignored: audio, logprobs and the older function calling."""
    if fields.values.get("functions") is not None:
        raise ApiError(400, "'functions' is deprecated: use 'tools'.", param="functions")
    if fields.values.get("audio") is not None or fields.flag("logprobs"):
        raise ApiError(400, "This model supports neither audio nor logprobs.", param="logprobs")
