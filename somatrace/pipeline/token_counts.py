"""Read the tokens of a span under the names of all instrumentors, and write them as Langfuse counts them.

Instrumentors report sums (`input_tokens`) and parts of them (cached, reasoning, audio) under many names.
Langfuse adds up and prices every count that it gets, and knows a part only under some of the names. So each
span with tokens leaves with `langfuse.observation.usage_details`, whose counts are disjoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from somatrace import semconv

_PREFIXES: Final = ("gen_ai.usage.", "llm.token_count.", "llm.usage.")


def _keys(*names: str) -> tuple[str, ...]:
    """The names under each prefix."""
    return tuple(prefix + name for name in names for prefix in _PREFIXES)


_INPUT: Final = _keys("prompt_tokens", "input_tokens", "prompt")
_OUTPUT: Final = _keys("completion_tokens", "output_tokens", "completion")
_TOTAL: Final = _keys("total_tokens", "total")
#: By the part's name in Langfuse: the keys under which instrumentors report it, the first known one wins.
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "input_cached_tokens": _keys(
        "cache_read.input_tokens",
        "cache_read_input_tokens",
        "cache_read_tokens",
        "details.cache_read_tokens",
        "details.cache_read_input_tokens",
        "details.cached_tokens",
        "details.cached_content_tokens",
        "prompt_details.cache_read",
        "input_cached_tokens",
    ),
    "input_cache_creation": _keys(
        "cache_creation.input_tokens",
        "cache_creation_input_tokens",
        "cache_write_tokens",
        "details.cache_write_tokens",
        "details.cache_creation_input_tokens",
        "prompt_details.cache_write",
        "input_cache_creation",
    ),
    "input_cache_creation_5m": (semconv.CACHE_CREATION_5M_TOKENS,),
    "input_cache_creation_1h": (semconv.CACHE_CREATION_1H_TOKENS,),
    "input_audio_tokens": _keys("audio.input_tokens", "details.input_audio_tokens", "prompt_details.audio"),
    "output_reasoning_tokens": _keys(
        "reasoning.output_tokens",
        "reasoning_tokens",
        "reasoning_output_tokens",
        "details.reasoning_tokens",
        "details.thoughts_tokens",
        "completion_details.reasoning",
    ),
    "output_audio_tokens": _keys(
        "audio.output_tokens",
        "details.output_audio_tokens",
        "details.audio_tokens",
        "completion_details.audio",
    ),
}
#: The conventional key of each part.
PART_KEYS: Final = {
    "input_cached_tokens": semconv.CACHE_READ_TOKENS,
    "input_cache_creation": semconv.CACHE_CREATION_TOKENS,
    "input_audio_tokens": semconv.INPUT_AUDIO_TOKENS,
    "output_reasoning_tokens": semconv.REASONING_TOKENS,
    "output_audio_tokens": semconv.OUTPUT_AUDIO_TOKENS,
}
_SIDES: Final = {"input": _INPUT, "output": _OUTPUT, "total": _TOTAL}
#: The count that a key reports, and the rank of the key among those for the same count.
_PLACES: Final = {
    key: (name, rank) for name, keys in (_SIDES | _PARTS).items() for rank, key in enumerate(keys)
}
#: The keys of all counts.
COUNT_KEYS: Final = frozenset(_PLACES)
_DURATIONS: Final = ("input_cache_creation_5m", "input_cache_creation_1h")
_CACHED: Final = ("input_cached_tokens", "input_cache_creation")
_REASONING: Final = "output_reasoning_tokens"
#: The keys of sums: a span without any has no tokens to count.
SUMS: Final = frozenset((*_INPUT, *_OUTPUT, *_TOTAL))
#: Langfuse counts every number under `gen_ai.usage.` as tokens if it finds no details.
_COUNTED: Final = SUMS | {semconv.COST_AMOUNT}
#: Scopes whose input does not include the tokens read from or written to a cache.
_WITHOUT_CACHED: Final = ("opentelemetry.instrumentation.bedrock",)
#: Models whose texts Langfuse prices under names of their own, since their audio has another price.
_SPEAKING: Final = re.compile(r"(?i)(?:.*/)?gpt-(?:4o-)?(?:mini-)?(?:audio|realtime)")
_SPOKEN_NAMES: Final = {
    "input": "input_text_tokens",
    "output": "output_text_tokens",
    "input_cached_tokens": "input_cached_text_tokens",
}


class TokenCounts(NamedTuple):
    """Tokens of a span. `input` and `output` include their parts; what is not reported is None."""

    input: int | None = None
    output: int | None = None
    parts: Mapping[str, int] = {}
    #: The total, where neither of the others is known.
    total: int | None = None

    @property
    def all(self) -> int:
        """All tokens, 0 if none are reported."""
        return self.total or (self.input or 0) + (self.output or 0)

    @property
    def details(self) -> dict[str, int]:
        """Disjoint counts by their names in Langfuse. Parts of 0 are left out."""
        if self.total is not None:
            return {"total": self.total}
        if not self.parts and self.input is not None and self.output is not None:
            return {"input": self.input, "output": self.output}
        found: dict[str, int] = {}
        for side, tokens in (("input", self.input), ("output", self.output)):
            parts = {name: count for name, count in self.parts.items() if name.startswith(side)}
            if tokens is not None:
                found[side] = max(0, tokens - sum(parts.values()))
            found |= parts
        return found

    def plus(self, other: TokenCounts) -> TokenCounts:
        """The sum of two counts."""
        parts = {name: self.parts.get(name, 0) + count for name, count in other.parts.items()}
        return TokenCounts(
            (self.input or 0) + (other.input or 0),
            (self.output or 0) + (other.output or 0),
            {**self.parts, **parts},
            (self.total or 0) + (other.total or 0) or None,
        )

    def minus(self, other: TokenCounts) -> TokenCounts:
        """What is left without `other`, at least 0 of each."""
        left = {
            side: max(0, (getattr(self, side) or 0) - (getattr(other, side) or 0))
            for side in ("input", "output")
        }
        parts: dict[str, int] = {}
        for name, count in self.parts.items():
            side = name.partition("_")[0]
            others = sum(given for known, given in parts.items() if known.startswith(side))
            rest = min(count - other.parts.get(name, 0), left[side] - others)
            if rest > 0:
                parts[name] = rest
        return TokenCounts(left["input"], left["output"], parts)


NONE: Final = TokenCounts()


def token_counts(attributes: Mapping[str, Any], scope: str = "") -> TokenCounts:
    """The tokens that a span of this instrumentation scope reports."""
    given = attributes.get(semconv.OBSERVATION_USAGE)
    if type(given) is str:
        return _of_details(given)
    if SUMS.isdisjoint(attributes):
        return NONE
    found = _reported(attributes, COUNT_KEYS.intersection(attributes))
    tokens_in, tokens_out = found.pop("input", None), found.pop("output", None)
    total = found.pop("total", None)
    if tokens_in is None and tokens_out is None:
        return NONE if total is None else TokenCounts(total=total)
    if not found:
        return TokenCounts(tokens_in, tokens_out)
    parts = {name: found[name] for name in _PARTS if found.get(name)}
    return _inclusive(tokens_in, tokens_out, total, parts, _leaves_out_cached(scope, attributes))


def add_usage_details(kept: dict[str, Any], scope: Callable[[], str]) -> bool:
    """Add Langfuse's usage to the attributes of a span with tokens, unless the program has set it.

    `scope` gives the name of its instrumentation scope. Returns whether the span has tokens.
    """
    given = kept.get(semconv.OBSERVATION_USAGE)
    if given is not None:
        return type(given) is str and _of_details(given).all > 0
    if _COUNTED.isdisjoint(kept):
        return False
    tokens = token_counts(kept, scope())
    kept[semconv.OBSERVATION_USAGE] = written(named_counts(kept, tokens))
    return any(tokens.details.values())


def named_counts(attributes: Mapping[str, Any], tokens: TokenCounts) -> dict[str, int]:
    """The tokens of a span with these attributes, by the names under which Langfuse prices them."""
    details = tokens.details
    model = attributes.get(semconv.RESPONSE_MODEL) or attributes.get(semconv.REQUEST_MODEL)
    if type(model) is str and _speaks(model):
        return {_SPOKEN_NAMES.get(name, name): count for name, count in details.items()}
    return details


def written(counts: Mapping[str, int]) -> str:
    """Counts in Langfuse's form: what `json.dumps` writes, in a fifth of the time. The names are ours."""
    return "{" + ", ".join([f'"{name}": {count}' for name, count in counts.items()]) + "}"


@lru_cache(maxsize=256)
def _speaks(model: str) -> bool:
    return _SPEAKING.match(model) is not None


def _leaves_out_cached(scope: str, attributes: Mapping[str, Any]) -> bool:
    if scope.startswith(_WITHOUT_CACHED):
        return True
    # llama-index passes on the counts of the provider: Anthropic's input leaves out the cached tokens
    llama = scope.startswith("opentelemetry.instrumentation.llamaindex")
    return llama and attributes.get(semconv.PROVIDER) == "anthropic"


def _inclusive(
    tokens_in: int | None,
    tokens_out: int | None,
    total: int | None,
    parts: dict[str, int],
    without_cached: bool,
) -> TokenCounts:
    """The counts with all parts in their sums, whether the instrumentor has included them or not."""
    if not parts:
        return TokenCounts(tokens_in, tokens_out, parts)
    durations = sum(parts.get(name, 0) for name in _DURATIONS)
    if durations:
        written = parts.pop("input_cache_creation", durations) - durations
        if written > 0:
            parts["input_cache_creation"] = written
    cached = sum(parts.get(name, 0) for name in (*_CACHED, *_DURATIONS))
    reasoning = parts.get(_REASONING, 0)
    both = (tokens_in or 0) + (tokens_out or 0)
    if tokens_in is not None and cached and (without_cached or cached > tokens_in or total == both + cached):
        tokens_in += cached
    if tokens_out is not None and reasoning and (reasoning > tokens_out or total == both + reasoning):
        tokens_out += reasoning
    return TokenCounts(tokens_in, tokens_out, parts)


def _reported(attributes: Mapping[str, Any], keys: Iterable[str]) -> dict[str, int]:
    """The counts by their names; of several keys for one count the first one in the table above."""
    found: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for key in keys:
        count = _count(attributes[key])
        if count is not None:
            name, rank = _PLACES[key]
            if name not in ranks or rank < ranks[name]:
                found[name], ranks[name] = count, rank
    return found


def _count(value: object) -> int | None:
    if type(value) is int:
        return value if value >= 0 else None
    return int(value) if type(value) is float and 0 <= value < 2**53 else None


def _of_details(details: str) -> TokenCounts:
    """The tokens in Langfuse's form: an object of disjoint counts, or OpenAI's own usage object."""
    try:
        given = json.loads(details)
    except (ValueError, RecursionError):
        return NONE
    if not isinstance(given, dict):
        return NONE
    counts = {name: count for name, value in given.items() if (count := _count(value))}
    for names in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
        if all(type(given.get(name)) is int for name in (*names, "total_tokens")):
            return TokenCounts(given[names[0]], given[names[1]])
    sides = [sum(n for name, n in counts.items() if name.startswith(side)) for side in ("input", "output")]
    if not any(sides):
        total = counts.get("total") or sum(counts.values())
        return TokenCounts(total=total) if total else NONE
    parts = {name: n for name, n in counts.items() if name.startswith(("input_", "output_"))}
    return TokenCounts(sides[0], sides[1], parts)
