"""The allow-list: keys whose texts may leave while content is off, and the shape each value must have.

Texts under unlisted keys are always removed; texts under listed keys are removed if they lack the key's
shape or if a detector finds something in them. Numbers and booleans need no entry. docs/content.md contains
this table, generated from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from somatrace.guard.langfuse_keys import (
    LANGFUSE_KEYS,
    METADATA,
    PLAIN_METADATA,
    SAFE_METADATA,
    TIME,
)
from somatrace.guard.safe_shapes import (
    COUNTERS,
    DATABASE,
    DATABASE_OPERATION,
    HOST,
    IDENTIFIER,
    LABEL,
    METHOD,
    MODEL,
    NUMBERS,
    PUBLIC_KEY,
    ROUTE,
    TYPE,
    VERSION,
    WORD,
    SafeShape,
)

SAFE_KEYS: Final[dict[str, SafeShape]] = {
    # the model call
    "gen_ai.request.model": MODEL,
    "gen_ai.response.model": MODEL,
    "langfuse.observation.model.name": MODEL,
    "embedding.model_name": MODEL,
    "llm.model_name": MODEL,
    "gen_ai.operation.name": WORD,
    "gen_ai.output.type": WORD,
    "gen_ai.provider.name": WORD,
    "gen_ai.system": WORD,
    "gen_ai.token.type": WORD,
    "gen_ai.request.reasoning_effort": WORD,
    "gen_ai.request.reasoning_summary": WORD,
    "gen_ai.request.encoding_formats": WORD,
    "gen_ai.response.reasoning_effort": WORD,
    "gen_ai.response.finish_reason": WORD,
    "gen_ai.response.finish_reasons": WORD,
    "gen_ai.response.stop_reason": WORD,
    "gen_ai.openai.api_type": WORD,
    "gen_ai.openai.api_version": VERSION,
    "openai.api.type": WORD,
    "openai.request.service_tier": WORD,
    "openai.response.service_tier": WORD,
    "gen_ai.openai.request.service_tier": WORD,
    "gen_ai.openai.response.service_tier": WORD,
    "llm.provider": WORD,
    "llm.system": WORD,
    "llm.finish_reason": WORD,
    "llm.request.type": WORD,
    "llm.response.finish_reason": WORD,
    "llm.response.stop_reason": WORD,
    "gen_ai.response.id": IDENTIFIER,
    "gen_ai.openai.system_fingerprint": IDENTIFIER,
    "gen_ai.openai.response.system_fingerprint": IDENTIFIER,
    "openai.response.system_fingerprint": IDENTIFIER,
    # users and sessions, set by libraries in addition to the tags
    "session.id": IDENTIFIER,
    "user.id": IDENTIFIER,
    "langfuse.session.id": IDENTIFIER,
    "langfuse.user.id": IDENTIFIER,
    "langfuse.trace.name": LABEL,
    "langfuse.trace.tags": LABEL,
    "public_key": PUBLIC_KEY,
    # usage
    "gen_ai.usage.cost.currency": SafeShape(r"[A-Z]{3}", "a currency code"),
    "gen_ai.usage.cost.source": WORD,
    "langfuse.observation.usage_details": NUMBERS,
    "langfuse.observation.cost_details": NUMBERS,
    # agents, tools and workflows: names that a program gives its parts
    "gen_ai.agent.name": LABEL,
    "gen_ai.agent.id": IDENTIFIER,
    "gen_ai.tool.name": LABEL,
    "gen_ai.tool.type": WORD,
    "tool.name": LABEL,
    "crewai.agent.id": IDENTIFIER,
    "crewai.agent.llm": MODEL,
    "crewai.crew.id": IDENTIFIER,
    "crewai.task.id": IDENTIFIER,
    "haystack.component.name": LABEL,
    "haystack.component.type": TYPE,
    "haystack.component.fully_qualified_type": TYPE,
    "fastmcp.server.name": LABEL,
    "fastmcp.component.type": WORD,
    "fastmcp.provider.type": TYPE,
    "gen_ai.tool.call.id": IDENTIFIER,
    "gen_ai.workflow.name": LABEL,
    "gen_ai.workflow.nodes": LABEL,
    "gen_ai.workflow.edges": SafeShape(r"[\w.:<>-]{1,64} -> [\w.:<>-]{1,64}", "two names joined by an arrow"),
    "gen_ai.task.name": LABEL,
    "gen_ai.task.id": IDENTIFIER,
    "gen_ai.task.parent.id": IDENTIFIER,
    "gen_ai.task.kind": WORD,
    "gen_ai.task.status": WORD,
    "gen_ai.conversation.id": IDENTIFIER,
    "langgraph.command.goto_node": LABEL,
    "langgraph.command.goto_nodes": LABEL,
    "langgraph.command.source_node": LABEL,
    "traceloop.entity.name": LABEL,
    "traceloop.entity.path": LABEL,
    "traceloop.workflow.name": LABEL,
    "traceloop.span.kind": WORD,
    "openinference.span.kind": WORD,
    "langfuse.observation.type": WORD,
    "langfuse.observation.level": WORD,
    "langfuse.observation.completion_start_time": TIME,
    "langfuse.environment": VERSION,
    "langfuse.release": VERSION,
    "langfuse.version": VERSION,
    **LANGFUSE_KEYS,
    "somatrace.kind": WORD,
    "somatrace.outcome": WORD,
    "somatrace.usage_counted": WORD,
    "client.correlation_id": SafeShape(r"[A-Za-z0-9._-]{1,64}", "a correlation id accepted by `incoming`"),
    # failures
    "error.type": TYPE,
    "error.code": TYPE,
    "exception.type": TYPE,
    "exception.escaped": SafeShape(r"True|False", "True or False"),
    # the transport
    "http.request.method": METHOD,
    "http.method": METHOD,
    "http.route": ROUTE,
    "url.template": ROUTE,
    "url.scheme": WORD,
    "http.scheme": WORD,
    "http.flavor": VERSION,
    "network.protocol.name": WORD,
    "network.protocol.version": VERSION,
    "network.transport": WORD,
    "network.type": WORD,
    "server.address": HOST,
    "net.peer.name": HOST,
    "net.host.name": HOST,
    "rpc.system": WORD,
    "rpc.service": TYPE,
    "rpc.method": TYPE,
    "mcp.method.name": WORD,
    "mcp.protocol.version": VERSION,
    "mcp.session.id": IDENTIFIER,
    "rpc.response.status_code": TYPE,
    "messaging.system": WORD,
    "messaging.operation": WORD,
    "messaging.operation.name": WORD,
    "messaging.operation.type": WORD,
    "messaging.destination.name": LABEL,
    "messaging.destination": LABEL,
    "messaging.message.id": IDENTIFIER,
    "celery.action": WORD,
    "celery.state": WORD,
    "celery.task_name": TYPE,
    # stores
    "db.system": WORD,
    "db.system.name": WORD,
    "db.operation": DATABASE_OPERATION,
    "db.operation.name": DATABASE_OPERATION,
    "db.collection.name": LABEL,
    "db.sql.table": LABEL,
    "db.namespace": DATABASE,
    "db.name": DATABASE,
    "db.chroma.query.segment._query.collection_id": IDENTIFIER,
    "code.function": TYPE,
    "code.function.name": TYPE,
    "code.namespace": TYPE,
}
#: Last segments of keys that name a collection or index of a vector store.
SAFE_ENDINGS: Final[dict[str, SafeShape]] = {
    "collection_name": LABEL,
    "index_name": LABEL,
    "metric_type": WORD,
}


def shape_of(key: str) -> SafeShape | None:
    """The required shape of texts under a key, or None if no text may leave."""
    shape = SAFE_KEYS.get(key)
    if shape is None and key.startswith("db."):
        return SAFE_ENDINGS.get(key.rpartition(".")[2])
    if shape is None and key.startswith(METADATA):
        return SAFE_METADATA.get(key.partition("metadata.")[2], PLAIN_METADATA)
    return shape


@cache
def _matcher(shape: SafeShape) -> re.Pattern[str]:
    return re.compile(shape.pattern)


def fits(shape: SafeShape, text: str) -> bool:
    """Whether the whole text has the shape."""
    return len(text) <= 2048 and _matcher(shape).fullmatch(text) is not None


#: Response ids of model providers: a known prefix and one run of letters and digits. Each id occurs
#: only once, and scanning them for secrets would take most of the guard's time.
_RESPONSE_ID: Final = re.compile(
    r"(?:(?:chatcmpl|cmpl)-|(?:resp|msg|msg_bdrk|req|gen|run|call|toolu)_)"
    r"(?![A-Za-z0-9]*[0-9]{9})(?!eyJ|AIza|AKIA|ASIA|ABIA|ACCA|dapi|SK|ATBB|EAA)[A-Za-z0-9]{1,64}"
)


def is_response_id(text: str) -> bool:
    """Whether a text is the response id of a model provider, which cannot contain anything else."""
    return _RESPONSE_ID.fullmatch(text) is not None


def looks_like_identifier(number: float) -> bool:
    """Whether a number could be a card, a phone number or a national id: an integer of 8 to 19 digits.

    A time since the epoch looks the same; it passes only because of its key's name, see `is_measure`.
    """
    return 10**7 <= abs(number) < 10**19 and number == int(number)


#: Numbers under these keys are measures, however large: sizes, counts, durations, ids of the process.
MEASURES: Final = re.compile(
    r"(?:.*[._])?(?:tokens?|counts?|size|length|bytes|duration|latency|total|limit|port|pid|lineno|"
    r"status_code|top_k|seed|dimensions?|timestamp|time|ns|ms|us|amount|cost|attempts?)"
)


#: Keys whose numbers are kept even after a process has exceeded the limit on distinct keys.
_FAMILIAR: Final = re.compile(
    rf"(?:gen_ai|llm)\.usage\.{COUNTERS}|somatrace\.[a-z_.]{{1,40}}"
    r"|gen_ai\.request\.(?:max_tokens|temperature|top_p|top_k|seed|choice\.count|frequency_penalty|presence_penalty)"
    r"|gen_ai\.(?:is_streaming|latency_ms)"
    r"|(?:http|net|server|network|client)\.(?:[a-z]{1,12}\.){0,2}(?:status_code|port|size|count)"
)


def is_familiar(key: str) -> bool:
    """Whether a key is one under which model or HTTP clients record numbers."""
    return _FAMILIAR.fullmatch(key) is not None


def is_measure(key: str) -> bool:
    """Whether a key's name marks its numbers as measures."""
    return MEASURES.fullmatch(key) is not None or is_familiar(key)


def is_listed(key: str, patterns: Sequence[str]) -> bool:
    """Whether the operator's `safe_keys` match a key; a trailing `*` matches any suffix."""
    return any(key.startswith(p[:-1]) if p.endswith("*") else key == p for p in patterns)
