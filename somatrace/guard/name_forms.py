"""The forms in which names of spans and events leave when a library has made them: one word, or an operation
of OpenTelemetry's semantic conventions and one word. Everything else may be content."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from somatrace import semconv
from somatrace.guard.allow_list import fits
from somatrace.guard.safe_shapes import DATABASE

_WORD: Final = re.compile(r"[A-Za-z0-9._/{}:-]{1,64}")

#: Operations whose span names are `operation target`, as in the semantic conventions; HTTP and databases
#: have targets of their own. The conventions leave the names of a database's operations to the database.
_OPERATIONS: Final = frozenset({
    # gen_ai.operation.name
    "chat", "create_agent", "embeddings", "execute_tool", "generate_content", "invoke_agent",
    "invoke_workflow", "retrieval", "text_completion",
    # the operations that OpenLLMetry's conventions add to those
    "execute_task", "llm_request", "vector_db_retrieve",
    # messaging.operation.type, and names of messaging.operation.name in use
    "ack", "create", "deliver", "nack", "poll", "process", "publish", "receive", "send", "settle",
    # graphql.operation.type
    "mutation", "query", "subscription",
    # mcp.method.name with a target
    "completion/complete", "prompts/get", "resources/read", "tools/call",
})  # fmt: skip
_NONE: Final = frozenset[str]()
_DATABASE_OPERATIONS: Final = frozenset({
    "ALTER", "BEGIN", "CALL", "COMMIT", "COPY", "CREATE", "DELETE", "DROP", "EXECUTE", "INSERT", "MERGE",
    "REPLACE", "ROLLBACK", "SELECT", "TRUNCATE", "UPDATE", "UPSERT", "WITH",
    "aggregate", "count", "delete", "distinct", "find", "findAndModify", "insert", "update",
})  # fmt: skip
#: Further operations, by prefix of the scope: langgraph's commands name the node they go to.
_LIBRARY_OPERATIONS: Final = {
    "mcp-python-sdk": frozenset({"MCP send"}),
    "opentelemetry.instrumentation.langchain": frozenset({"goto"}),
    "opentelemetry.instrumentation.openai_agents": frozenset({"Agent", "Realtime"}),
}


class NamedByContent(NamedTuple):
    """Names that begin with content: only `library.ending` leaves, for the known endings."""

    library: str
    endings: frozenset[str]


#: By prefix of the scope. Roles, tasks and crews of crewai are prompts.
_NAMED_BY_CONTENT: Final = {
    "opentelemetry.instrumentation.crewai": NamedByContent(
        "crewai", frozenset({"workflow", "agent", "task", "llm"})
    ),
    "openinference.instrumentation.crewai": NamedByContent(
        "crewai", frozenset({"kickoff", "_execute_core", "run", "_run", "llm_call"})
    ),
}
#: Instrumentation that puts a database's name, possibly its path or address, into span names.
_NAMED_BY_DATABASE: Final = ("opentelemetry.instrumentation.sqlalchemy",)


def library_name(name: str, scope: str) -> str:
    """The name that may leave for a library's span or event, before it is scanned; "" if none may."""
    for prefix, named in _NAMED_BY_CONTENT.items():
        if is_scope_of(prefix, scope):
            ending = name.rpartition(".")[2]
            return f"{named.library}.{ending}" if ending in named.endings else ""
    if any(is_scope_of(prefix, scope) for prefix in _NAMED_BY_DATABASE):
        head, space, target = name.partition(" ")
        return name if _WORD.fullmatch(head) and (not space or fits(DATABASE, target)) else ""
    further = (known for prefix, known in _LIBRARY_OPERATIONS.items() if is_scope_of(prefix, scope))
    return name if _has_form(name, next(further, _NONE)) else ""


def is_scope_of(prefix: str, scope: str) -> bool:
    """Whether a scope is the one named `prefix`, or that of a module below it."""
    return scope == prefix or scope.startswith(f"{prefix}.")


def _has_form(name: str, further: frozenset[str]) -> bool:
    operation, space, target = name.partition(" ")
    if not space:
        return _is_word(name)
    if operation in semconv.HTTP_METHODS or operation == semconv.HTTP_OTHER:
        return _is_word(target)
    if operation in _DATABASE_OPERATIONS:
        return fits(DATABASE, target) and _is_word(target)
    if operation in _OPERATIONS:
        return _is_word(target)
    return any(name.startswith(f"{known} ") and _has_form(name[len(known) + 1 :], _NONE) for known in further)


def _is_word(text: str) -> bool:
    """Whether a text is one word, and not an address."""
    return _WORD.fullmatch(text) is not None and "://" not in text
