"""The one model there is, and its namesakes that fail in a known way so that callers can be tested."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from somatrace.modelserver.protocol import CREATED, ApiError

MODEL: Final = "local-extractive"
_EVENTS_BEFORE_BREAK: Final = 4
#: Suffix of the model's name -> what asking for it does.
FAILURES: Final = {
    "429": "answers 429 with retry-after",
    "500": "answers 500",
    "slow": "waits before the answer and between streamed events",
    "broken-stream": "cuts the connection in the middle of a stream",
}


@dataclass(frozen=True, slots=True)
class AnswerManner:
    """How to answer: `pause` in seconds, `broken_after` as a number of events."""

    pause: float = 0.0
    broken_after: int | None = None


def listing() -> dict[str, object]:
    """What `GET /v1/models` says."""
    return {"object": "list", "data": [description(MODEL)]}


def description(name: str) -> dict[str, object]:
    """What `GET /v1/models/<name>` says."""
    _failure(name)
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "somatrace"}


async def manner(name: str, slow_seconds: float) -> AnswerManner:
    """How the model called `name` answers; raises its `ApiError` if it is one that fails at once."""
    failure = _failure(name)
    if failure == "429":
        message = f"Rate limit reached for {name}: this model always refuses."
        headers = {"retry-after-ms": "50", "retry-after": "1"}
        raise ApiError(429, message, code="rate_limit_exceeded", headers=headers)
    if failure == "500":
        raise ApiError(500, f"The model {name} always fails.")
    if failure == "slow":
        await asyncio.sleep(slow_seconds)
        return AnswerManner(pause=slow_seconds / 10)
    return AnswerManner(broken_after=_EVENTS_BEFORE_BREAK if failure == "broken-stream" else None)


def _failure(name: str) -> str:
    """The suffix of a model that fails, "" for the one that does not; 404 for any other name."""
    base, _, suffix = name.partition(MODEL + "-")
    if name == MODEL:
        return ""
    if base or suffix not in FAILURES:
        message = f"The model '{name[:100]}' does not exist; this server has '{MODEL}'."
        raise ApiError(404, message, param="model", code="model_not_found")
    return suffix
