"""The ledger's files: segments in a directory of their own, each of one process, merged once they are many.

A segment is complete when its lock is free. A merged one takes the place of one of those that it contains,
in one step, and names the others: whoever reads it ignores them, and the next merge deletes those that are
still there. A process may thus be killed anywhere, and every call counts once.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from somatrace.costs.ledger.ledger_entry import LedgerTotals, decoded, encoded
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import LEDGER, WRITER
from somatrace.spool.segment_reader import UnknownFormatError, records
from somatrace.spool.spool_directory import (
    SEGMENT,
    created_ns,
    file_names,
    lock,
    open_directory,
    open_file,
    open_spool,
    remove_unfinished,
)

#: In the data directory.
LEDGER_NAME: Final = "costs"
#: More complete segments than these are merged.
MOST_SEGMENTS: Final = 64
_MERGE_LOCK: Final = "merge.lock"
#: Entries of one record.
_ROWS: Final = 1000
#: How often a directory is read again that changes while it is read.
_ATTEMPTS: Final = 20


class SegmentContents(NamedTuple):
    """What a segment has: sums, the names of the segments that they contain, and damaged records."""

    totals: LedgerTotals
    replaces: frozenset[str]
    damaged: int


def open_ledger(data_dir: Path, *, create: bool) -> tuple[Path, int]:
    """The ledger's directory and a descriptor of its segments, to which no link leads. Raises `OSError`."""
    directory = data_dir / LEDGER_NAME
    if create:
        directory.mkdir(0o700, exist_ok=True)
    os.close(open_directory(directory))
    return directory, open_spool(directory, create=create)


def read_ledger(data_dir: Path) -> tuple[LedgerTotals, int]:
    """All sums of all processes, and the number of damaged records. Raises `OSError`."""
    _, spool = open_ledger(data_dir, create=False)
    try:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # merged meanwhile
                found = {name: _contents(spool, name) for name in segment_names(spool)}
                return _summed(found)
    finally:
        os.close(spool)
    raise OSError("the ledger changes while it is read")


def segment_names(spool: int) -> list[str]:
    """The names of the segments in the directory, oldest first."""
    return [name for name in file_names(spool) if name.endswith(SEGMENT)]


def compact(
    file: SegmentFile, spool: int, writer: Mapping[str, object], replaces: Sequence[str] = ()
) -> bool:
    """Put in the place of a held segment one with the same sums, and those of others that it `replaces`.

    Returns False, and changes nothing, if one of them is damaged: the rest of it may still be recovered. If
    it raises `OSError`, the old segment is unchanged.
    """
    totals, damaged = _summed({name: _contents(spool, name) for name in (*replaces, file.path.name)})
    if damaged:
        return False
    made = SegmentFile.create_instead(file, spool, {**writer, "replaces": list(replaces)})
    try:
        rows = list(totals.items())
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            made.append(encoded(some), sum(sums.calls for _, sums in some), file.created_ns, LEDGER)
        made.replace(file, spool)
    except BaseException:
        made.delete()
        raise
    made.close()
    return True


def merge(directory: Path, spool: int, writer: Mapping[str, object]) -> None:
    """Make one of the complete segments if they are many, unless another process does. Raises `OSError`."""
    names = segment_names(spool)
    if len(names) <= MOST_SEGMENTS:
        return
    with _only_one(spool) as is_free:
        if is_free:
            remove_unfinished(spool)
            names = _without_replaced(spool, names)
            _merge(directory, spool, writer, names)


def _merge(directory: Path, spool: int, writer: Mapping[str, object], names: Sequence[str]) -> None:
    with contextlib.ExitStack() as held:
        taken = []
        for name in names:
            file = SegmentFile.take_over(directory, spool, name, created_ns(name) or 0)
            if file is not None:
                held.callback(file.close)
                if not _contents(spool, name).damaged:
                    taken.append(file)
        if len(taken) < 2:
            return
        *others, last = taken
        if compact(last, spool, writer, [file.path.name for file in others]):
            for file in others:
                file.delete()


def _without_replaced(spool: int, names: Sequence[str]) -> list[str]:
    """Delete the segments that others contain; returns the rest."""
    replaced: set[str] = set()
    for name in names:
        replaced |= _contents(spool, name).replaces
    for name in replaced.intersection(names):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=spool)
    return [name for name in names if name not in replaced]


@contextmanager
def _only_one(spool: int) -> Iterator[bool]:
    """Whether no other process merges during the block."""
    descriptor = open_file(spool, _MERGE_LOCK, os.O_RDWR | os.O_CREAT)
    try:
        yield lock(descriptor)
    finally:
        os.close(descriptor)


def _summed(found: Mapping[str, SegmentContents]) -> tuple[LedgerTotals, int]:
    replaced = frozenset[str]().union(*(one.replaces for one in found.values()))
    totals, damaged = LedgerTotals(), 0
    for name, one in found.items():
        if name not in replaced:
            totals.add_all(one.totals.items())
            damaged += one.damaged
    return totals, damaged


def _contents(spool: int, name: str) -> SegmentContents:
    """The contents of a segment, which may be in use. Raises FileNotFoundError if it is gone, `OSError`."""
    descriptor = open_file(spool, name, os.O_RDONLY)
    totals, damaged, replaces = LedgerTotals(), 0, frozenset[str]()
    try:
        for record in records(descriptor, complete=False):
            try:
                if record.header is None or record.payload is None:
                    damaged += 1
                elif record.header.kind == WRITER:
                    replaces = _replaces(json.loads(record.payload))
                elif record.header.kind == LEDGER:
                    totals.add_all(list(decoded(record.payload)))
            except (TypeError, ValueError):
                damaged += 1
    except UnknownFormatError:
        damaged += 1
    finally:
        os.close(descriptor)
    return SegmentContents(totals, replaces, damaged)


def _replaces(writer: Any) -> frozenset[str]:
    given = writer.get("replaces") if isinstance(writer, dict) else None
    return (
        frozenset(name for name in given if isinstance(name, str)) if isinstance(given, list) else frozenset()
    )
