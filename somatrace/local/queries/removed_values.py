"""What the guard noted of a span: the values it took out, and whether input or output was among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from somatrace.local.otlp.input_output import side_of

#: a note that somebody else wrote may be of any length
_MOST: Final = 200


class RemovedValue(NamedTuple):
    """One value: its key, "?" where that must not leave either, its length, and the rule it fell under."""

    key: str
    length: int
    rule: str


def read(note: str) -> list[RemovedValue]:
    """The values of a note; none when it is not of the guard's making."""
    try:
        items = json.loads(note) if note else []
        return [
            RemovedValue(str(item["key"]), int(item["length"]), str(item.get("rule", "")))
            for item in items[:_MOST]
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def rules(removed: Iterable[RemovedValue]) -> str:
    """The rules that took something, in their order."""
    return ", ".join(dict.fromkeys(item.rule for item in removed if item.rule))


def of_side(removed: Sequence[RemovedValue], side: str) -> int | None:
    """The length of what was removed of "input" or "output"; None when nothing was."""
    lengths = [item.length for item in removed if side_of(item.key) == side]
    return sum(lengths) if lengths else None
