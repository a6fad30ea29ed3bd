"""What waits in a data directory, for which service and target. Nothing is changed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from somatrace.delivery.journal_directory import UNSENT, directory_of
from somatrace.delivery.journal_entry import contents_of
from somatrace.spool.spool_directory import (
    NAME,
    SEGMENT,
    file_names,
    is_in_use,
    open_directory,
    open_file,
)

_DIRECTORY: Final = re.compile(r"[0-9a-f]{16}")
_NOT_PRINTED: Final = re.compile(r"[^\x20-\x7e]")


class Owner(NamedTuple):
    """The service that wrote a segment, and the target that it is for. `key` is a public one."""

    service: str
    target: str
    address: str
    key: str

    @property
    def destination(self) -> str:
        """The target in words."""
        return printable(f"{self.target} {self.address}" + (f" ({self.key})" if self.key else ""))


@dataclass(frozen=True)
class WaitingSegment:
    """One file. Without an owner, its first record is lost; with a problem, nothing of it can be read."""

    path: Path
    owner: Owner | None = None
    in_use: bool = False
    spans: int = 0
    size: int = 0
    oldest_ns: int = 0
    damaged: int = 0
    problem: str = ""


@dataclass(frozen=True)
class WaitingDirectory:
    """The segments of one service and target; `owner` is None if none of them says whose they are."""

    path: Path
    segments: tuple[WaitingSegment, ...] = ()
    owner: Owner | None = None
    problem: str = ""


def printable(text: str) -> str:
    """Text from a file, safe for a terminal."""
    return _NOT_PRINTED.sub("?", text[:5000])


def directories(data_dir: Path, kind: str = UNSENT) -> Iterator[WaitingDirectory]:
    """Every directory of a service and target, with the segments in it."""
    place = data_dir / kind
    try:
        opened = open_directory(place)
    except FileNotFoundError:
        return
    except OSError as error:
        yield WaitingDirectory(place, problem=reason(error))
        return
    try:
        for name in sorted(filter(_DIRECTORY.fullmatch, os.listdir(opened))):  # noqa: PTH208 - by descriptor
            yield _directory(data_dir, opened, place / name)
    finally:
        os.close(opened)


def _directory(data_dir: Path, place: int, path: Path) -> WaitingDirectory:
    opened = []
    try:
        opened.append(open_directory(path.name, place))
        opened.append(open_directory(NAME, opened[0]))
        spool = opened[1]
        found = [_segment(spool, path / NAME / name) for name in file_names(spool) if name.endswith(SEGMENT)]
    except FileNotFoundError:
        return WaitingDirectory(path)
    except OSError as error:
        return WaitingDirectory(path, problem=reason(error))
    finally:
        for descriptor in opened:
            os.close(descriptor)
    segments = [segment for segment in found if segment is not None]
    # the name of the directory is made of the owner, so that a segment of another place is noticed
    owners = {segment.owner for segment in segments if segment.owner is not None}
    own = [owner for owner in owners if directory_of(data_dir, owner._asdict(), path.parent.name) == path]
    owner = own[0] if own else None
    return WaitingDirectory(path, tuple(_placed(segment, owner) for segment in segments), owner)


def _placed(segment: WaitingSegment, owner: Owner | None) -> WaitingSegment:
    if segment.problem or segment.owner == owner:
        return segment
    if segment.owner is None:
        return replace(segment, owner=owner)
    return replace(segment, problem="it is not in the directory of its service and target")


def _segment(spool: int, path: Path) -> WaitingSegment | None:
    """One segment; None if it is gone."""
    try:
        descriptor = open_file(spool, path.name, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        return WaitingSegment(path, problem=reason(error))
    try:
        in_use = is_in_use(descriptor)
        contents = contents_of(descriptor, complete=not in_use)
        if not os.fstat(descriptor).st_nlink:
            return None
    except (OSError, ValueError) as error:
        return WaitingSegment(path, problem=reason(error))
    finally:
        os.close(descriptor)
    waiting = contents.waiting.values()
    return WaitingSegment(
        path,
        _owner(contents.writer),
        in_use,
        spans=sum(header.spans for header in waiting),
        size=sum(header.length for header in waiting),
        oldest_ns=min((header.time_ns for header in waiting), default=0),
        damaged=contents.damaged,
    )


def _owner(writer: Mapping[str, object]) -> Owner | None:
    found = [writer.get(field) for field in Owner._fields]
    texts = [value for value in found if isinstance(value, str)]
    return Owner(*texts) if len(texts) == len(found) else None


def reason(error: Exception) -> str:
    """An error of reading in a few words."""
    if isinstance(error, OSError) and error.strerror:
        is_link = error.errno == errno.ELOOP  # the answer to O_NOFOLLOW
        return "it is a link" if is_link else error.strerror
    return str(error)
