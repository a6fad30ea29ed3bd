"""Notes of what was taken away: key and length, never the value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

MAX_NOTES: Final = 64


class Removed(NamedTuple):
    """A key that may leave itself, or "?", and a length: characters, or items of a sequence."""

    key: str
    length: int


def note(removed: Sequence[Removed]) -> str:
    """The value of `somatrace.guard.removed`: JSON, key and length of each removed value, at most 64."""
    noted = [f'{{"key": "{item.key}", "length": {item.length}}}' for item in removed[:MAX_NOTES]]
    return f"[{', '.join(noted)}]"  # keys in notes have no character that JSON would escape


def length_of(value: Any) -> int:
    """The length for a note; 1 for what has none, or lies about it."""
    try:
        return len(value) if isinstance(value, (str, bytes, tuple, list)) else 1
    except Exception:
        return 1
