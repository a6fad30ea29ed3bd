"""The time at which the first token of a streamed answer arrives.

Events that only open an answer do not count: some protocols send them as soon as they have the request.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry import trace

from somatrace import semconv
from somatrace.runtime.fail_safe import fail_safe

#: The parts of a chunk in the protocol of OpenAI's chat that the model has made.
_MADE: Final = (
    "content", "tool_calls", "function_call", "reasoning_content", "reasoning", "refusal", "audio"
)  # fmt: skip
#: Types of events with tokens: their last part. The first protocol of cohere has a name of its own.
_TOKENS: Final = ("delta", "text-generation")
#: Of anthropic: the end of a message.
_NO_TOKENS: Final = "message_delta"


def has_token(item: Any) -> bool:
    """Whether a streamed item brings a token. Items of unknown protocols do."""
    with fail_safe("first token"):
        if type(item) is dict:
            return "messageStart" not in item
        data = getattr(item, "data", item)  # mistralai's events hold the chunk
        choices = getattr(data, "choices", None)
        if isinstance(choices, (list, tuple)):
            return any(_is_made(choice) for choice in choices)
        kind = getattr(item, "type", None) or getattr(item, "event_type", None)
        if isinstance(kind, str):
            return kind.endswith(_TOKENS) and kind != _NO_TOKENS
        return not hasattr(data, "choices")
    return False


def arrived(spans: Iterable[trace.Span]) -> None:
    """Note the present moment on `spans` as that of their first token."""
    with fail_safe("first token"):
        now = datetime.fromtimestamp(time.time_ns() / 1e9, UTC).isoformat()
        for span in spans:
            span.set_attribute(semconv.COMPLETION_START, now)


def _is_made(choice: Any) -> bool:
    """Whether a choice of a chunk, or its text in the older protocol, holds something of the model."""
    delta = getattr(choice, "delta", None)
    if delta is None:
        return bool(getattr(choice, "text", None))
    return any(getattr(delta, part, None) for part in _MADE)
