"""Repairs of side effects that libraries and their instrumentors have on the program."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Mapping
from types import ModuleType
from typing import Any, Final

from opentelemetry import trace

from somatrace.instrumentation.function_bodies import replace_body

#: Operations of mistralai that its instrumentor traces: chat, its streams, and embeddings.
_TRACED_MISTRALAI_OPERATIONS: Final = frozenset(
    ("chat_completion_v1_chat_completions_post", "stream_chat", "embeddings_v1_embeddings_post")
)


def disable_native_anthropic_spans(anthropic: ModuleType) -> str | None:
    """Keep anthropic (2.x and later) from making spans of its own beside the instrumentor's.

    Both have the call's tokens, so its cost would count twice. Clients get their tracer at their first
    call, so clients created earlier are covered too. A tracer provider that the program gave to a client
    keeps its spans, unless it is the process's. Returns the state for `status()` if this is not possible.
    """
    if f"{anthropic.__name__}._tracing" not in sys.modules:
        return None  # 1.x and earlier have no spans of their own
    client = sys.modules.get(f"{anthropic.__name__}._base_client")
    make = getattr(client, "get_tracer", None)
    if client is None or make is None:
        return (
            "on; anthropic's own spans cannot be disabled in this version: set ANTHROPIC_OPEN_TELEMETRY=false"
        )

    def get_tracer(options: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        own = options.get("tracer_provider")
        if own is None or own is trace.get_tracer_provider():
            return None
        return make(options, *args, **kwargs)

    client.get_tracer = get_tracer  # type: ignore[attr-defined]
    return None


def disable_native_mistralai_spans(mistralai: ModuleType) -> str | None:
    """Keep mistralai (1.10 and later) from making spans of its own for calls that the instrumentor traces.

    Both have the call's tokens; for a stream, mistralai also replaces the response, and ends its span twice
    or, if the stream is given up, not at all. Its spans of other calls (agents, conversations, OCR) stay.
    Returns the state for `status()` if this is not possible.
    """
    hook = sys.modules.get(f"{mistralai.__name__}._hooks.tracing")
    if hook is None:
        return None  # earlier versions have no spans of their own
    make = getattr(hook, "get_traced_request_and_span", None)
    if make is None:
        return "on; mistralai's own spans cannot be disabled in this version, so that calls have two spans"

    def get_traced_request_and_span(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("operation_id") in _TRACED_MISTRALAI_OPERATIONS:
            return kwargs["request"], None
        return make(*args, **kwargs)

    hook.get_traced_request_and_span = get_traced_request_and_span  # type: ignore[attr-defined]
    return None


def remove_event_loops(package: str) -> None:
    """Remove `asyncio.run` from synchronous calls.

    The openai and anthropic instrumentors read each call's arguments with it, or in a thread if a loop is
    running: that is slow, and afterwards the program's `asyncio.get_event_loop()` finds no loop. Their
    coroutine awaits only the upload of images, which is disabled, so one step completes it.
    """
    replace_body(package, ("run_async",), _step_through)


def _step_through(method: Coroutine[Any, Any, None]) -> None:
    try:
        method.send(None)
    except StopIteration:
        return
    method.close()
