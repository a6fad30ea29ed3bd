"""The server's only model, and variants of it that fail in a known way for testing callers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from somatrace.modelserver.protocol import CREATED, ApiError

MODEL: Final = "local-extractive"
_EVENTS_BEFORE_BREAK: Final = 4
#: Suffix of the model's name -> behavior of that variant.
FAILURES: Final = {
    "429": "returns 429 with retry-after",
    "500": "returns 500",
    "slow": "delays the answer and each streamed event",
    "broken-stream": "closes the connection in the middle of a stream",
}


@dataclass(frozen=True, slots=True)
class AnswerManner:
    """How to answer: `pause` in seconds between events, `broken_after` as a number of events."""

    pause: float = 0.0
    broken_after: int | None = None


def listing() -> dict[str, object]:
    """The answer to `GET /v1/models`."""
    return {"object": "list", "data": [description(MODEL)]}


def description(name: str) -> dict[str, object]:
    """The answer to `GET /v1/models/<name>`."""
    _failure(name)
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "somatrace"}


async def manner(name: str, slow_seconds: float) -> AnswerManner:
    """How the model `name` answers; raises `ApiError` for variants that fail immediately."""
    failure = _failure(name)
    if failure == "429":
        message = f"Rate limit reached for {name}: this model always returns 429."
        headers = {"retry-after-ms": "50", "retry-after": "1"}
        raise ApiError(429, message, code="rate_limit_exceeded", headers=headers)
    if failure == "500":
        raise ApiError(500, f"The model {name} always fails.")
    if failure == "slow":
        await asyncio.sleep(slow_seconds)
        return AnswerManner(pause=slow_seconds / 10)
    return AnswerManner(broken_after=_EVENTS_BEFORE_BREAK if failure == "broken-stream" else None)


def _failure(name: str) -> str:
    """The suffix of a failing variant, "" for the model itself; raises a 404 for any other name."""
    base, _, suffix = name.partition(MODEL + "-")
    if name == MODEL:
        return ""
    if base or suffix not in FAILURES:
        message = f"The model '{name[:100]}' does not exist; this server has '{MODEL}'."
        raise ApiError(404, message, param="model", code="model_not_found")
    return suffix
