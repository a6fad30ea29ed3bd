"""Tokens and cost of a span, computed as in Langfuse (contract: docs/local.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from somatrace import semconv
from somatrace.local.otlp import foreign_json

#: bounds hostile amounts, so that sums do not overflow
_MAX_AMOUNT: Final = 10**12
_USAGE_PREFIXES: Final = ("gen_ai.usage.", "llm.token_count.")
_INPUT: Final = ("prompt_tokens", "input_tokens", "prompt")
_OUTPUT: Final = ("completion_tokens", "output_tokens", "completion")
_TOTAL: Final = ("total_tokens", "total")
_CACHE_READ: Final = (
    "cache_read.input_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "details.cache_read_tokens",
    "details.cache_read_input_tokens",
    "prompt_details.cache_read",
    "input_cached_tokens",
)
_CACHE_CREATION: Final = (
    "cache_creation.input_tokens",
    "cache_creation_input_tokens",
    "cache_write_tokens",
    "details.cache_write_tokens",
    "details.cache_creation_input_tokens",
    "prompt_details.cache_write",
    "input_cache_creation",
)
_OPENAI_SIDES: Final = (
    {"input": "prompt_tokens", "output": "completion_tokens"},
    {"input": "input_tokens", "output": "output_tokens"},
)
_REASONING: Final = ("reasoning.output_tokens", "completion_details.reasoning")
_AUDIO: Final = ("completion_details.audio",)
_NAMED: Final = frozenset(_INPUT + _OUTPUT + _TOTAL + _CACHE_READ + _CACHE_CREATION + _REASONING + _AUDIO)


@dataclass(frozen=True, slots=True)
class UsageAmounts:
    """A detailed count or cost with its sums; a sum is None if nothing was reported."""

    details: Mapping[str, Any]
    input: Any = None
    output: Any = None
    total: Any = None


NOTHING: Final = UsageAmounts({})


def json_object(value: Any) -> dict[str, Any] | None:
    """`value` as a JSON object, if it is one or is text that contains one."""
    if isinstance(value, str):
        try:
            value = foreign_json.parse(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def usage(attributes: Mapping[str, Any]) -> UsageAmounts:
    """Tokens: `langfuse.observation.usage_details`, else the GenAI and OpenInference counts."""
    given = json_object(attributes.get(semconv.OBSERVATION_USAGE))
    raw = _generic(attributes) if given is None else _of_openai(given) or given
    details = {key: count for key, value in raw.items() if (count := _count(value)) is not None}
    return _summed(details)


def cost(attributes: Mapping[str, Any]) -> UsageAmounts:
    """USD: `langfuse.observation.cost_details`, else a total computed by another library."""
    given = json_object(attributes.get(semconv.OBSERVATION_COST))
    if given is None:
        total = attributes.get("gen_ai.usage.cost", attributes.get("llm.cost.total"))
        given = {} if total in (None, "") else {"total": total}
    details = {key: amount for key, value in given.items() if (amount := _amount(value)) is not None}
    return _summed(details)


def _summed(details: dict[str, Any]) -> UsageAmounts:
    if not details:
        return NOTHING
    if "total" not in details:
        details["total"] = sum(details.values())
    parts: dict[str, Any] = {}
    for side in ("input", "output"):
        values = [value for key, value in details.items() if side in key.lower()]
        parts[side] = sum(values) if values else None
    return UsageAmounts(details, parts["input"], parts["output"], details["total"])


def _of_openai(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The counts of OpenAI's own usage object, which the langfuse SDK passes on; None for other objects."""
    for sides in _OPENAI_SIDES:
        details = {side: f"{key}_details" for side, key in sides.items()}
        keys = {*sides.values(), "total_tokens"}
        if not keys <= given.keys() or not given.keys() <= {*keys, *details.values()}:
            continue
        out: dict[str, Any] = {"total": _count(given["total_tokens"])}
        for side, key in sides.items():
            parts = given.get(details[side])
            counts = {name: _count(value) for name, value in parts.items()} if isinstance(parts, dict) else {}
            known = {f"{side}_{name}": count for name, count in counts.items() if count is not None}
            out |= {side: max((_count(given[key]) or 0) - sum(known.values()), 0), **known}
        return out
    return None


def _generic(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Counts under their conventional names, with cached and reasoning tokens subtracted from the sums."""
    raw: dict[str, int] = {}
    for key, value in attributes.items():
        if key.startswith(_USAGE_PREFIXES):
            name = key.removeprefix("gen_ai.usage.").removeprefix("llm.token_count.")
            # the cost keys share the prefix but are not counts
            if not name.startswith("cost") and (count := _count(value)) is not None:
                raw[name] = count
    if not raw:
        return raw

    def first(keys: tuple[str, ...]) -> int | None:
        return next((raw[key] for key in keys if key in raw), None)

    out = {key.removeprefix("details."): value for key, value in raw.items() if key not in _NAMED}
    read, created = first(_CACHE_READ), first(_CACHE_CREATION)
    reasoning, audio = first(_REASONING), first(_AUDIO)
    if (tokens := first(_INPUT)) is not None:
        out["input"] = max(tokens - (read or 0) - (created or 0), 0)
    if (tokens := first(_OUTPUT)) is not None:
        out["output"] = max(tokens - (reasoning or 0) - (audio or 0), 0)
    others = {
        "total": first(_TOTAL),
        "input_cached_tokens": read,
        "input_cache_creation": created,
        "output_reasoning_tokens": reasoning,
        "output_audio_tokens": audio,
    }
    return out | {name: number for name, number in others.items() if number is not None}


def _count(value: Any) -> int | None:
    amount = _amount(value)
    return None if amount is None else int(amount)


def _amount(value: Any) -> float | None:
    """A number from 0 to a trillion, also from text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= _MAX_AMOUNT else None
