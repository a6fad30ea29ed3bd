"""What libraries and their instrumentors do of their own accord, and must not."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Mapping
from types import ModuleType
from typing import Any, Final

from opentelemetry import trace

from somatrace.instrumentation.function_bodies import give_body

#: Answers of the Responses API that are still being made; all other states are final.
_UNFINISHED: Final = ("queued", "in_progress")
#: Background answers that nobody fetches are let go, oldest first.
_MOST_UNFINISHED: Final = 256


def anthropic_own_spans_off(anthropic: ModuleType) -> str | None:
    """Keep anthropic (2.x and later) from making spans of its own beside the instrumentor's.

    Both hold the call's tokens, so its cost would count twice. Clients ask for their tracer when they
    make their first call, so those made earlier are covered too. A provider that the program gave to
    a client, and that is not the process's, keeps its spans. Returns what to say when it cannot be done.
    """
    if f"{anthropic.__name__}._tracing" not in sys.modules:
        return None  # 1.x and earlier make none
    client = sys.modules.get(f"{anthropic.__name__}._base_client")
    make = getattr(client, "get_tracer", None)
    if client is None or make is None:
        return "on; its own spans cannot be switched off here: set ANTHROPIC_OPEN_TELEMETRY=false"

    def get_tracer(options: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        own = options.get("tracer_provider")
        if own is None or own is trace.get_tracer_provider():
            return None
        return make(options, *args, **kwargs)

    client.get_tracer = get_tracer  # type: ignore[attr-defined]
    return None


class UnfinishedSpans(dict[str, Any]):
    """Keeps what the Responses API has not finished yet, and nothing else."""

    def __setitem__(self, key: str, value: Any) -> None:
        if getattr(value, "response_status", None) not in _UNFINISHED:
            self.pop(key, None)
            return
        super().__setitem__(key, value)
        while len(self) > _MOST_UNFINISHED:
            self.pop(next(iter(self)), None)


def forget_finished_responses() -> None:
    """The openai instrumentor keeps each answer of the Responses API, with its texts, for the life of the
    process (traceloop/openllmetry#4473); it needs only those that are fetched later."""
    wrappers = sys.modules.get("opentelemetry.instrumentation.openai.v1.responses_wrappers")
    if isinstance(getattr(wrappers, "responses", None), dict):
        wrappers.responses = UnfinishedSpans()  # type: ignore[union-attr]


def leave_event_loops_alone(package: str) -> None:
    """Take `asyncio.run` out of synchronous calls.

    The openai and anthropic instrumentors read each call's arguments with it, or with a thread when a
    loop runs: slow, and afterwards the program's `asyncio.get_event_loop()` finds none. What they run
    waits for nothing but the upload of images, which does not take place, so it is stepped through.
    """
    give_body(package, ("run_async",), _step_through)


def _step_through(method: Coroutine[Any, Any, None]) -> None:
    try:
        method.send(None)
    except StopIteration:
        return
    method.close()
