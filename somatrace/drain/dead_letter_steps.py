"""Export the spans that their target does not accept, or have them wait again."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from somatrace.delivery.dead_letters import DEAD_LETTERS, DeadLetter
from somatrace.delivery.journal_directory import directory_of
from somatrace.drain.dead_letter_survey import DeadSegment, dead_segments, held
from somatrace.drain.directory_sender import DirectoryJournal, remove_empty
from somatrace.drain.export_file import ExportFile, allow_open_files
from somatrace.drain.survey import directories
from somatrace.spool.segment_file import SegmentFile


def export_dead(data_dir: Path, path: Path, allows: Callable[[str, str], bool]) -> int:
    """Write all dead letters to the new file `path` and delete them; return the number of spans.

    Raises `OSError` if that is not possible, after which everything is as before. `allows` tells whether a
    tenant's grant of content, given by its fingerprint, is in force.
    """
    allow_open_files()
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(one) for one in map(held, dead_segments(data_dir, []))]
        letters = [letter for segment, _ in filter(None, taken) for letter in segment.letters]
        if not letters:
            return 0
        file = stack.enter_context(ExportFile(path))
        for letter in letters:
            file.write(_may_leave(letter.content, allows))
        file.keep()
        for _, segment_file in filter(None, taken):
            segment_file.delete()
    _remove_empty(data_dir)
    return sum(letter.spans for letter in letters)


def retry_dead(data_dir: Path) -> int:
    """Have all dead letters wait for their target again; return the number of spans.

    Raises `OSError` if they cannot be written there. A process that is killed leaves some in both places.
    """
    spans = 0
    for segment in dead_segments(data_dir, []):
        with held(segment) as taken:
            if taken is not None:
                spans += _wait_again(data_dir, *taken)
    _remove_empty(data_dir)
    return spans


def _wait_again(data_dir: Path, segment: DeadSegment, file: SegmentFile) -> int:
    owner = segment.owner
    journal = DirectoryJournal(directory_of(data_dir, owner._asdict()), owner, Counter())
    try:
        for letter in segment.letters:
            content = letter.content
            entry = journal.add(content.body, letter.spans, content.restricted)
            if entry is None:
                raise OSError(journal.problem)
            journal.suspect([entry])
        journal.sync(now=True)
        file.delete()
    finally:
        journal.close()
    return sum(letter.spans for letter in segment.letters)


def _may_leave(letter: DeadLetter, allows: Callable[[str, str], bool]) -> bytes:
    restricted = letter.restricted
    if restricted is None or restricted.is_allowed(allows):
        return letter.body
    return restricted.without_content


def _remove_empty(data_dir: Path) -> None:
    for directory in directories(data_dir, DEAD_LETTERS):
        if not directory.problem and not directory.segments:
            remove_empty(directory.path)
