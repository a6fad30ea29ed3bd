"""The directory of segments: private to its user, found by descriptor, limited in size and age.

Every file is named after the time of its creation, so that names sort by age. A segment is locked (`flock`)
by its writer as long as that may append to it: a segment whose lock is free is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from somatrace.spool.segment_reader import spans_in

NAME: Final = "spool"
SEGMENT: Final = ".segment"
REPORT: Final = ".report"
#: Behind the name of a segment that is being written to take the place of another one.
UNFINISHED: Final = ".tmp"

#: Flags that create a file to append to.
NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
#: What a file takes on disk at least.
_BLOCK: Final = 4096
DAY_NS: Final = 86_400_000_000_000
#: A segment is not written to for longer than this after its creation.
MAX_SEGMENT_NS: Final = 3_600_000_000_000


def open_spool(parent: Path, *, create: bool) -> int:
    """A descriptor of the directory `spool` in `parent`, which is made private (0700).

    Raises `OSError` if it is missing, a link, or belongs to another user.
    """
    path = parent / NAME
    if create:
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
    descriptor = open_directory(path)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        os.fchmod(descriptor, 0o700)
    return descriptor


def open_directory(path: Path | str, within: int | None = None) -> int:
    """A descriptor of a directory, of one in the open directory `within` if that is given.

    Raises `OSError` if it is missing, a link, or belongs to another user.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=within)
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "the directory belongs to another user", str(path))
    return descriptor


def open_file(spool: int, name: str, flags: int) -> int:
    """Open a file in the directory; raises `OSError` unless it is a regular one of this user."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=spool)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "not a regular file of this user", name)
    return descriptor


def lock(descriptor: int) -> bool:
    """Try to lock an open file; False if another open file of it holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_in_use(descriptor: int) -> bool:
    """Whether another open file of it holds the lock. Takes a shared lock for a moment."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def new_name(time_ns: int, suffix: str) -> str:
    """A unique name that sorts by `time_ns`."""
    return f"{max(0, time_ns):016x}-{os.urandom(8).hex()}{suffix}"


def created_ns(name: str) -> int | None:
    """The time in a file's name; None if the name is not one of ours."""
    time, dash, _ = name.partition("-")
    try:
        return int(time, 16) if dash and len(time) == 16 else None
    except ValueError:
        return None


def file_names(spool: int) -> list[str]:
    """The names of our files in the directory, oldest first."""
    return sorted(name for name in os.listdir(spool) if created_ns(name) is not None)


def make_room(spool: int, size: int, *, most: int, max_days: float, now_ns: int) -> Counter[str]:
    """Delete the oldest files until `size` more bytes keep the directory under `most` bytes.

    Files that are older than `max_days` are deleted in any case, segments that are being written or read in
    none. Returns the spans deleted by reason, "size" or "age".
    """
    names = file_names(spool)
    sizes = _sizes(spool, names)
    used = sum(sizes.values())
    oldest = now_ns - int(max_days * DAY_NS) - MAX_SEGMENT_NS
    deleted: Counter[str] = Counter()
    for name in names:
        is_old = (created_ns(name) or 0) < oldest
        if not is_old and used + size <= most:
            break
        if _delete(spool, name, "age" if is_old else "size", deleted):
            used -= sizes.get(name, 0)
    return deleted


def remove_unfinished(spool: int) -> None:
    """Delete segments that a process had begun to write in the place of others before it was killed."""
    for name in file_names(spool):
        if name.endswith(f"{SEGMENT}{UNFINISHED}"):
            with contextlib.suppress(OSError):
                descriptor = open_file(spool, name, os.O_RDWR)
                try:
                    if lock(descriptor):
                        os.unlink(name, dir_fd=spool)
                finally:
                    os.close(descriptor)


def used_bytes(spool: int) -> int:
    """The bytes on disk of all our files in the directory."""
    return sum(_sizes(spool, file_names(spool)).values())


def _sizes(spool: int, names: Iterable[str]) -> dict[str, int]:
    found = {}
    for name in names:
        try:
            size = os.stat(name, dir_fd=spool, follow_symlinks=False).st_size
        except OSError:
            continue
        found[name] = -(-size // _BLOCK) * _BLOCK
    return found


def _delete(spool: int, name: str, reason: str, deleted: Counter[str]) -> bool:
    """Delete a file and count its spans; False if it is in use or cannot be deleted."""
    try:
        if not name.endswith(SEGMENT):
            os.unlink(name, dir_fd=spool)
            return True
        descriptor = open_file(spool, name, os.O_RDWR)
    except OSError:
        return False
    try:
        if not lock(descriptor) or not os.fstat(descriptor).st_nlink:
            return False
        spans = spans_in(descriptor)
        os.unlink(name, dir_fd=spool)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    deleted[reason] += spans
    return True
