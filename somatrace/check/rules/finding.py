"""What is wrong, where, why, and what to do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding. `path` is relative to the root; `line` and `column` start at 1. `chain` leads from the
    launcher to the place, one step per line of text.
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
        """The same while the line says the same, wherever it moves in its file."""
        told = "\0".join((self.code, self.path, " ".join(self.source.split())))
        return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:32]
