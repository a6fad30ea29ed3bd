"""The messages of an assistant's run as attributes of its span."""

from __future__ import annotations

import json
from typing import Any


def content(instructions: object, messages: Any) -> dict[str, str]:
    """The messages of a thread, oldest first, as an instrumentor's chat span has them."""
    asked = [_message("system", [instructions])] if instructions else []
    answered: list[dict[str, Any]] = []
    for message in sorted(messages, key=lambda one: one.created_at):
        texts = [part.text.value for part in message.content if getattr(part, "text", None) is not None]
        (answered if message.role == "assistant" else asked).append(_message(message.role, texts))
    return {
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps(answered),
    }


def _message(role: str, texts: list[Any]) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text} for text in texts]}
