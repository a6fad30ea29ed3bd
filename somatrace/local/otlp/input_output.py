"""Input and output of a span, from the attribute conventions of various libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from somatrace import semconv

#: the first pair with either side set wins
_PAIRS: Final = (
    (semconv.OBSERVATION_INPUT, semconv.OBSERVATION_OUTPUT),
    ("traceloop.entity.input", "traceloop.entity.output"),
    ("input.value", "output.value"),
    ("input", "output"),
    ("tool_arguments", "tool_response"),
)
_NUMBERED: Final = ("gen_ai.prompt.", "gen_ai.completion.")
_LATER_PAIRS: Final = (
    ("gen_ai.input.messages", "gen_ai.output.messages"),
    ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
)


def input_output(attributes: Mapping[str, Any]) -> tuple[Any, Any, frozenset[str]]:
    """Input, output (None if absent) and the keys they came from."""
    for pair in _PAIRS:
        if pair[0] in attributes or pair[1] in attributes:
            return attributes.get(pair[0]), attributes.get(pair[1]), frozenset(pair)
    keys = frozenset(key for key in attributes if key.startswith(_NUMBERED))
    if keys:
        given, answered = (_numbered(attributes, prefix) for prefix in _NUMBERED)
        return given or None, answered or None, keys
    for pair in _LATER_PAIRS:
        if pair[0] in attributes or pair[1] in attributes:
            return attributes.get(pair[0]), attributes.get(pair[1]), frozenset(pair)
    return None, None, frozenset()


def side_of(key: str) -> str:
    """The side an attribute belongs to, "input" or "output"; "" if neither."""
    for given, answered in (*_PAIRS, *_LATER_PAIRS, _NUMBERED):
        if key == given or (given.endswith(".") and key.startswith(given)):
            return "input"
        if key == answered or (answered.endswith(".") and key.startswith(answered)):
            return "output"
    return ""


def _numbered(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The messages in `<prefix><number>.<field>` attributes, by number, without gaps."""
    messages: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        number, _, field = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and number.isascii() and number.isdigit() and len(number) < 10 and field:
            messages.setdefault(int(number), {})[field] = value
    return [messages[number] for number in sorted(messages)]
