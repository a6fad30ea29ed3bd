"""Repairs of side effects that libraries and their instrumentors have on the program."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Mapping
from types import ModuleType
from typing import Any

from opentelemetry import trace

from somatrace.instrumentation.function_bodies import replace_body


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
