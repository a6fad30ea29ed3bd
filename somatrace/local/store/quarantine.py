"""Quarantined stores: files that could not be used and were set aside for a new one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

#: reasons for setting a file aside, by the word in its name
REASONS: Final = {"corrupt": "it was damaged", "old": "it was written by an older somatrace"}


class QuarantinedFile(NamedTuple):
    """A file that was set aside, which stays until the user deletes it."""

    name: str
    reason: str
    moved_ns: int


def latest(directory: Path, file: str) -> QuarantinedFile | None:
    """The store that was set aside last, found by file name, since other processes do this too."""
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
