"""Notes about removed values: key, length and rule, never the value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

MAX_NOTES: Final = 64


class RemovalNote(NamedTuple):
    """A key, or "?" for a key that must not leave; a length (characters, or items of a sequence); the rule.

    Rules: `policy none` or another mode that excludes the value; `fault`: it could not be checked.
    """

    key: str
    length: int
    rule: str


def note(removed: Sequence[RemovalNote]) -> str:
    """The value of `somatrace.guard.removed`: a JSON list with an object per removed value, at most 64."""
    noted = [
        f'{{"key": "{item.key}", "length": {item.length}, "rule": "{item.rule}"}}'
        for item in removed[:MAX_NOTES]
    ]
    return f"[{', '.join(noted)}]"  # keys and rules in notes contain no characters that need escaping in JSON


def length_of(value: Any) -> int:
    """The length for a note; 1 for values without a length or with a faulty one."""
    try:
        return len(value) if isinstance(value, (str, bytes, tuple, list)) else 1
    except Exception:
        return 1
