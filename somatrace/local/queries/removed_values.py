"""Parsing of the guard's removal note on a span, including removed input and output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from somatrace.local.otlp.input_output import side_of

#: a note written by other software may have any length
_MOST: Final = 200


class RemovedValue(NamedTuple):
    """One value: its key ("?" if the key is withheld too), its length, and the rule that removed it."""

    key: str
    length: int
    rule: str


def read(note: str) -> list[RemovedValue]:
    """The values in a note; empty if the note is not the guard's."""
    try:
        items = json.loads(note) if note else []
        return [
            RemovedValue(str(item["key"]), int(item["length"]), str(item.get("rule", "")))
            for item in items[:_MOST]
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def rules(removed: Iterable[RemovedValue]) -> str:
    """The distinct rules, in order of first use."""
    return ", ".join(dict.fromkeys(item.rule for item in removed if item.rule))


def of_side(removed: Sequence[RemovedValue], side: str) -> int | None:
    """The total length removed from "input" or "output"; None if nothing was removed."""
    lengths = [item.length for item in removed if side_of(item.key) == side]
    return sum(lengths) if lengths else None
