"""Write what waits to a file, and mark it as done once it is on the disk."""

from __future__ import annotations

import contextlib
import os
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from somatrace.delivery.journal_entry import Entry
from somatrace.drain.directory_sender import DirectoryJournal
from somatrace.drain.survey import WaitingDirectory


class ExportFile:
    """A new private file, which is removed again unless it was `kept`. Raises `OSError` if it exists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self._kept:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def write(self, body: bytes) -> None:
        left = memoryview(body)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def keep(self) -> None:
        """Have the file and its name on the disk."""
        os.fsync(self._descriptor)
        parent = os.open(self._path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
        self._kept = True


def export(
    path: Path,
    found: Sequence[WaitingDirectory],
    lost: Counter[str],
    *,
    progress: Callable[[int], None],
    allows: Callable[[str, str], bool],
) -> int:
    """Write everything that is not in use to `path`; return the number of spans.

    Serialized requests in a row are one request with the spans of all. Raises `OSError` if that is not
    possible, after which everything waits as before. `allows` tells whether a tenant's grant of content,
    given by its fingerprint, is in force.
    """
    allow_open_files()
    journals = [DirectoryJournal(one.path, one.owner, lost, of_any=True) for one in found]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(ExportFile(path))
        for journal in journals:
            stack.callback(journal.close)
        written, spans = [], 0
        for journal in journals:
            for entry in _taken_over(journal):
                read = journal.read(entry)
                if read is None:
                    lost["disk"] += entry.spans
                else:
                    body, restricted = read
                    if restricted is not None and not restricted.is_allowed(allows):
                        body = restricted.without_content
                    file.write(body)
                    spans += entry.spans
                written.append((journal, entry))
            progress(spans)
        if not spans:
            return 0
        file.keep()
        for journal, entry in written:
            journal.done([entry])
    return spans


def _taken_over(journal: DirectoryJournal) -> Iterable[Entry]:
    while entries := journal.take_over():
        yield from entries


def allow_open_files() -> None:
    """Every segment stays open, and locked, until the file is on the disk."""
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
