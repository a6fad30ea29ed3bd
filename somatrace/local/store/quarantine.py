"""Stores that were set aside: a file that could not be used is kept, and a new one begun."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

#: why a file is set aside, by the word in its name
REASONS: Final = {"corrupt": "it was damaged", "old": "an older somatrace wrote it"}


class QuarantinedFile(NamedTuple):
    """One file, which stays until somebody deletes it."""

    name: str
    reason: str
    moved_ns: int


def latest(directory: Path, file: str) -> QuarantinedFile | None:
    """The store that was set aside last. Other processes set them aside too, so that the directory tells."""
    try:
        names = [path.name for path in directory.glob(f"{file}.*-*")]
    except OSError:
        return None
    form = re.compile(rf"{re.escape(file)}\.({'|'.join(REASONS)})-([0-9]{{1,19}})")
    found = [
        QuarantinedFile(name, REASONS[match[1]], int(match[2]))
        for name in names
        if (match := form.fullmatch(name))
    ]
    return max(found, key=lambda aside: aside.moved_ns, default=None)
