"""Let langchain's callback handler take every event that a library sends to handlers, and note first tokens.

The instrumentor adds its handler to all callback managers, also to those of libraries above langchain, whose
events it does not know: langgraph's `on_interrupt` and `on_resume` were logged as errors of the handler.
"""

from __future__ import annotations

import sys
from typing import Any

from somatrace.instrumentation.llm.isolation.first_token import arrived
from somatrace.runtime.fail_safe import fail_safe

#: The mark of a call of a model whose first token has arrived.
_ARRIVED = "_somatrace_has_token"


def take_unknown_events(package: str) -> None:
    """Make the handler of the instrumentor ignore events without a method of its own."""
    module = sys.modules.get(f"{package}.callback_handler")
    handler = getattr(module, "TraceloopCallbackHandler", None)
    if handler is not None and not hasattr(handler, "__getattr__"):
        handler.__getattr__ = _event


def _event(handler: object, name: str) -> Any:
    if name.startswith("on_"):
        return _ignore
    raise AttributeError(f"{type(handler).__name__!r} object has no attribute {name!r}")


def _ignore(*_: object, **__: object) -> None:
    """Do nothing with an event."""


def note_first_tokens(package: str) -> None:
    """Make the handler note when the first token of a model's streamed answer arrives."""
    handler = getattr(sys.modules.get(f"{package}.callback_handler"), "TraceloopCallbackHandler", None)
    if handler is not None:
        handler.on_llm_new_token = _new_token


def _new_token(handler: Any, token: object, *, run_id: object = None, chunk: Any = None, **_: object) -> None:
    with fail_safe("first token"):
        call = handler.spans.get(run_id)
        if call is None or hasattr(call, _ARRIVED):
            return
        if token or _is_made(getattr(chunk, "message", None)):
            setattr(call, _ARRIVED, True)
            arrived([call.span])


def _is_made(message: Any) -> bool:
    """Whether a message without text holds something else of the model: a call of a tool, reasoning."""
    return bool(getattr(message, "tool_call_chunks", None) or getattr(message, "additional_kwargs", None))
