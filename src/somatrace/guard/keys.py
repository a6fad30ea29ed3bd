"""Attribute keys that carry content, as the tested instrumentors write them."""

from __future__ import annotations

from typing import Final

CONTENT_KEYS: Final = frozenset(
    {
        "db.query.text",
        "db.statement",
        "error.message",
        "exception.message",
        "exception.stacktrace",
        "gen_ai.agent.description",
        "gen_ai.evaluation.explanation",
        "gen_ai.headers",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.openai.api_base",
        "gen_ai.request.structured_output_schema",
        "gen_ai.system_instructions",
        "gen_ai.user",
        "http.target",
        "http.url",
        "input",
        "input.value",
        "langfuse.observation.status_message",
        "message",
        "output",
        "output.value",
        "prompt",
        "url.full",
        "url.query",
    }
)
CONTENT_PREFIXES: Final = (
    "crewai.",
    "db.chroma.query",
    "db.marqo.",
    "db.milvus.",
    "db.query.",
    "gen_ai.completion",
    "gen_ai.content",
    "gen_ai.memory.",
    "gen_ai.prompt",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query",
    "gen_ai.task.",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "gen_ai.tool.description",
    "http.request.header",
    "http.response.header",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "llm.completions",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "mcp.response.",
    "pinecone.query",
    "traceloop.association.properties.",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.",
    "tool.",
)
#: Resource attributes that can hold a password given on a command line, or the environment.
RESOURCE_SECRETS: Final = ("process.command", "process.environment")


def is_content(key: str) -> bool:
    """Whether an attribute of this name carries text of prompts, answers, queries or errors."""
    return key in CONTENT_KEYS or key.startswith(CONTENT_PREFIXES)
