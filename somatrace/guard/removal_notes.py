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
    return joined([note_on(item) for item in removed[:MAX_NOTES]])


def joined(notes: Sequence[str]) -> str:
    """The list of notes that `note_on` has made, at most 64."""
    return f"[{', '.join(notes[:MAX_NOTES])}]"


def note_on(item: RemovalNote) -> str:
    """One removed value as a JSON object."""
    # keys and rules contain no characters that need escaping in JSON
    return f'{{"key": "{item.key}", "length": {item.length}, "rule": "{item.rule}"}}'


def length_of(value: Any) -> int:
    """The length for a note; 1 for values without a length or with a faulty one."""
    try:
        return len(value) if isinstance(value, (str, bytes, tuple, list)) else 1
    except Exception:
        return 1
