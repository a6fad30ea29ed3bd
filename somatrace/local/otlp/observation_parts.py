"""What an observation is: its type, model and level, from the attributes of a span, as Langfuse has them.

Keys are listed in order of precedence; the first that is not empty wins. Source: as in `observation`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from somatrace import semconv

_TYPES: Final = {
    kind: kind.upper()
    for kind in (
        "span", "generation", "event", "embedding", "agent",
        "tool", "chain", "retriever", "guardrail", "evaluator",
    )
}  # fmt: skip
_OPENINFERENCE: Final = {
    kind.upper(): kind.upper()
    for kind in ("chain", "retriever", "embedding", "agent", "tool", "guardrail", "evaluator")
} | {"LLM": "GENERATION"}
_OPERATIONS: Final = {
    "chat": "GENERATION",
    "completion": "GENERATION",
    "text_completion": "GENERATION",
    "generate_content": "GENERATION",
    "generate": "GENERATION",
    "embeddings": "EMBEDDING",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "execute_tool": "TOOL",
}
_TYPE_RULES: Final = (
    (semconv.OBSERVATION_TYPE, _TYPES),
    ("openinference.span.kind", _OPENINFERENCE),
    (semconv.OPERATION, _OPERATIONS),
)
_MODEL: Final = (
    "langfuse.observation.model.name",
    semconv.RESPONSE_MODEL,
    "ai.model.id",
    semconv.REQUEST_MODEL,
    "llm.response.model",
    "llm.model_name",
    "model",
)
_LEVELS: Final = {
    "DEBUG": "DEBUG", "TRACE": "DEBUG", "DEFAULT": "DEFAULT", "INFO": "DEFAULT", "LOG": "DEFAULT",
    "WARNING": "WARNING", "WARN": "WARNING", "ERROR": "ERROR", "FATAL": "ERROR", "CRITICAL": "ERROR",
}  # fmt: skip
#: these spans aggregate their children, so their usage would count twice
SUMMING_OPERATIONS: Final = ("invoke_agent", "agent_step")


def observation_type(attributes: Mapping[str, Any]) -> str:
    """The type in Langfuse's upper case, such as GENERATION."""
    for key, types in _TYPE_RULES:
        value = attributes.get(key)
        if isinstance(value, str) and value in types:
            return types[value]
    if attributes.get(semconv.TOOL_NAME) or attributes.get("gen_ai.tool.call.id"):
        return "TOOL"
    return "SPAN" if model_of(attributes) is None else "GENERATION"


def model_of(attributes: Mapping[str, Any]) -> str | None:
    """The model that has answered, or else the one that was asked."""
    return first(attributes, _MODEL)


def level_of(attributes: Mapping[str, Any], status: int) -> str:
    """The level, from the OTLP code of the status where the span does not give one."""
    given = attributes.get("langfuse.observation.level")
    fallback = "ERROR" if status == 2 else "DEFAULT"
    return _LEVELS.get(given.upper(), fallback) if isinstance(given, str) else fallback


def first(values: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first value that is not empty, as text."""
    for key in keys:
        value = values.get(key)
        # most keys are absent, and this runs for dozens of keys per span
        if value is not None and value not in ("", [], {}):
            return text(value)
    return None


def text(value: Any) -> str:
    """A value as Langfuse stores it: text unchanged, anything else as JSON."""
    return value if isinstance(value, str) else compact(value)


#: a shared encoder, since `json.dumps` builds a new one on every call with non-default options
compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
