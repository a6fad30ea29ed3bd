"""Notes of what was taken away: key, length and rule, never the value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

MAX_NOTES: Final = 64


class RemovalNote(NamedTuple):
    """A key that may leave itself, or "?", a length (characters, or items of a sequence), and the rule.

    Rules: `policy none` or another mode, by which the value must not leave; `fault`: it could not be
    judged.
    """

    key: str
    length: int
    rule: str


def note(removed: Sequence[RemovalNote]) -> str:
    """The value of `somatrace.guard.removed`: JSON, an object for each removed value, at most 64."""
    noted = [
        f'{{"key": "{item.key}", "length": {item.length}, "rule": "{item.rule}"}}'
        for item in removed[:MAX_NOTES]
    ]
    return f"[{', '.join(noted)}]"  # keys and rules in notes have no character that JSON would escape


def length_of(value: Any) -> int:
    """The length for a note; 1 for what has none, or lies about it."""
    try:
        return len(value) if isinstance(value, (str, bytes, tuple, list)) else 1
    except Exception:
        return 1
