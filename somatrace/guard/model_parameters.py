"""The parameters of a model call that are no content: numbers, switches, and words that the API defines."""

from __future__ import annotations

import json
import math
from typing import Any, Final

_NAMES: Final = (
    "best_of", "candidate_count", "dimensions", "encoding_format", "frequency_penalty", "logprobs",
    "max_completion_tokens", "max_new_tokens", "max_output_tokens", "max_retries", "max_tokens",
    "max_tokens_to_sample", "min_p", "n", "num_ctx", "num_predict", "parallel_tool_calls", "presence_penalty",
    "reasoning_effort", "repetition_penalty", "seed", "service_tier", "store", "stream", "strict",
    "temperature", "thinking_budget", "timeout", "tool_choice", "top_k", "top_logprobs", "top_p",
    "truncation", "verbosity",
)  # fmt: skip
_WORDS: Final = (
    "any", "auto", "base64", "default", "disabled", "enabled", "flex", "float", "high", "inf",
    "Infinity", "low", "max", "medium", "minimal", "none", "priority", "required", "scale", "standard",
    "xhigh",
)  # fmt: skip
_VALUE = (
    r"(?:-?[0-9]{1,7}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?|true|false|null|\"(?:"
    + "|".join(_WORDS)
    + ')")'
)
#: The whole text of an object that has no other parameters.
PATTERN: Final = r"\{(?:\s?\"(?:" + "|".join(_NAMES) + r")\"\s?:\s?" + _VALUE + r",?){0,32}\s?\}"


def without_content(text: str) -> str | None:
    """The object with only these parameters and values; None if it has none of them."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    kept = {name: value for name, value in given.items() if name in _NAMES and _is_plain(value)}
    return json.dumps(kept) if kept else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return value in _WORDS
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) < 10**7
    return value is None or (isinstance(value, int) and abs(value) < 10**7)
