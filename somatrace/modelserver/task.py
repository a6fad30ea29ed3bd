"""What a request asks for, the same for chat completions and responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = Mapping[str, Any]
Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `role` is system, developer, user, assistant, tool or function; `name` that of a tool."""

    role: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelTask:
    """A request without its wire format.

    `tool_choice` is "auto", "none", "required" or "=" and the name of one tool. `schema` is None for text,
    empty for any JSON object.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: Json | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: text, or the call of one tool (`arguments` is JSON text)."""

    text: str = ""
    tool: str = ""
    arguments: str = ""
    finish: Finish = "stop"
