"""A segment that nobody holds, read and held by this process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from somatrace.delivery.journal_entry import Contents, Entry, HeldSegment, contents_of, entries_of
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.spool_directory import created_ns

log = logging.getLogger("somatrace")


class FreeSegment(NamedTuple):
    """A segment that this process holds from now on, and what waits in it."""

    segment: HeldSegment
    contents: Contents
    entries: list[Entry]


def free_segment(
    parent: Path, spool: int, name: str, accepts: Callable[[Contents], bool] = lambda _: True
) -> FreeSegment | None:
    """Take over a segment in the open directory `spool` of `parent`.

    Returns None if somebody holds it, if it cannot be read, or if `accepts` refuses what is in it.
    """
    file = None
    try:
        file = SegmentFile.take_over(parent, spool, name, created_ns(name) or 0)
        if file is None:
            return None
        contents = contents_of(file.descriptor, complete=True)
        if accepts(contents):
            segment = HeldSegment(file)
            return FreeSegment(segment, contents, entries_of(segment, contents))
        log.debug("%s: it is for another target", name)  # somebody has moved it here
    except (OSError, ValueError) as error:
        log.debug("%s: %s", name, type(error).__name__)
    if file is not None:
        file.close()
    return None
