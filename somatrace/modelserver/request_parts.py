"""Request parsing shared by chat completions and responses."""

from __future__ import annotations

from typing import Final

from somatrace.modelserver.protocol import ApiError, Fields
from somatrace.modelserver.task import Json, Message, Tool

MAX_TOKENS: Final = 100_000
MAX_MESSAGES: Final = 2_000
MAX_TOOLS: Final = 128
ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})


def content(fields: Fields, name: str) -> str:
    """The text of a message: a string, or a list of text parts. Images and audio are rejected."""
    if not isinstance(fields.values.get(name), list):
        return fields.text(name, "")
    parts = []
    for part in fields.objects(name):
        if (kind := part.text("type")) not in _TEXT_PARTS:
            message = f"'{part.path('type')}' is '{kind[:40]}': this model reads text only."
            raise ApiError(400, message, param=name)
        parts.append(part.text("refusal" if kind == "refusal" else "text"))
    return "\n".join(parts)


def role(fields: Fields) -> str:
    """The role of a message's author: one of `ROLES`."""
    value = fields.text("role")
    if value not in ROLES:
        raise fields.error("role", "one of " + ", ".join(sorted(ROLES)))
    return value


def tool(fields: Fields) -> Tool:
    """A function's definition: name, description, parameters."""
    parameters = fields.object("parameters")
    return Tool(
        name=fields.text("name"),
        description=fields.text("description", ""),
        parameters=parameters.values if parameters else {},
    )


def tool_choice(value: object, chosen: str, tools: tuple[Tool, ...]) -> str:
    """A task's `tool_choice`; `chosen` is the tool's name if `value` is an object."""
    if value is None:
        return "auto"
    if value in ("auto", "none", "required") and isinstance(value, str):
        if value == "required" and not tools:
            raise ApiError(400, "'tool_choice' is 'required' but there are no 'tools'.", param="tool_choice")
        return value
    if not any(tool.name == chosen for tool in tools):
        raise ApiError(400, "'tool_choice' names a tool that is not in 'tools'.", param="tool_choice")
    return "=" + chosen


def schema(kind: str, definition: Fields | None, messages: list[Message], path: str) -> Json | None:
    """The schema of a structured answer: None for text, empty for any JSON object."""
    if kind == "text":
        return None
    if kind == "json_object":
        # OpenAI's rule; without it a program would work here and fail with OpenAI
        if not any("json" in message.text.lower() for message in messages):
            message = f"'messages' must contain the word 'json' to use '{path}' of type 'json_object'."
            raise ApiError(400, message, param=path)
        return {}
    found = definition.object("schema") if kind == "json_schema" and definition else None
    if found is not None:
        return found.values or {"type": "object"}
    message = f"Invalid '{path}': expected text, json_object, or json_schema with a schema."
    raise ApiError(400, message, param=path)
