"""The record of one finding: its place, message and remedy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding. `path` is relative to the root; `line` and `column` start at 1. `chain` leads from the
    launcher to the place, one step per entry.
    """

    path: str
    line: int
    code: str
    column: int = 1
    message: str = ""
    help: str = ""
    chain: tuple[str, ...] = ()
    service: str = ""
    source: str = ""

    def fingerprint(self) -> str:
        """A hash that stays the same while the text of the line does, wherever it moves in its file."""
        text = "\0".join((self.code, self.path, " ".join(self.source.split())))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
