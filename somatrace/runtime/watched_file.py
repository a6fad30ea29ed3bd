"""Read a file that may change while the process runs, and tell with one `stat` whether it has changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from somatrace.runtime.clock import clock

MAX_BYTES: Final = 1 << 20

#: A file changed fewer nanoseconds ago than this may change again without a change in its timestamps.
UNSETTLED: Final = 2_000_000_000
ATTEMPTS: Final = 3

Signature = tuple[int, ...]

#: Matches no file's signature, so the file is read again.
UNKNOWN: Final[Signature] = ()


class UnusableFileError(OSError):
    """The file could be opened but not read; the message says how to fix it."""


def read_file(path: Path) -> tuple[bytes, Signature]:
    """The contents of a regular file, up to one byte above the limit, and a signature to detect changes.

    Never blocks, as opening a pipe would. Links are followed: Kubernetes mounts files as links and swaps
    them. A file that changes while being read is read again, so that two versions are never mixed.
    The signature of a file changed just now is unknown: the next change might not alter its timestamps.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(ATTEMPTS):
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UnusableFileError("not a regular file: set the path of one")
            with open(handle, "rb", closefd=False) as file:
                file.seek(0)
                raw = file.read(MAX_BYTES + 1)
            if _signature(os.fstat(handle)) == _signature(status):
                settled = abs(clock.time_ns() - status.st_ctime_ns) > UNSETTLED
                return raw, _signature(status) if settled else UNKNOWN
    finally:
        os.close(handle)
    raise UnusableFileError("the file keeps changing while it is read: write a new file and rename it")


def signature_of(path: Path) -> Signature | None:
    """The signature of the file now; None if it is missing."""
    try:
        return _signature(path.stat())
    except (OSError, ValueError):
        return None


def why_unreadable(error: Exception) -> str:
    """Why a file could not be read, and how to fix it."""
    if isinstance(error, UnusableFileError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "the file is missing: create it, or unset the variable"
    return f"the file cannot be read ({type(error).__name__}): check its path and permissions"


def _signature(status: os.stat_result) -> Signature:
    """Includes `ctime`, which cannot be set: copying a file's `mtime` does not hide a change."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
