"""A model request independent of its endpoint: chat completions or responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = Mapping[str, Any]
Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `role` is system, developer, user, assistant, tool or function; `name` a tool's name."""

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

    `tool_choice` is "auto", "none", "required", or "=" followed by a tool's name. `schema` is None for text
    and empty for any JSON object.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: Json | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: text, or one tool call (`arguments` is JSON text)."""

    text: str = ""
    tool: str = ""
    arguments: str = ""
    finish: Finish = "stop"
