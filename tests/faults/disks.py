"""Real file systems and directories with too little room, or that cannot be written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotMountError(Exception):
    """This user may mount no file system here."""


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A file system at `place`, for the block. Raises `CannotMountError`."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of that size."""
    with mounted(place, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as disk:
        yield disk


@contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """A directory of a read-only file system."""
    with mounted(place, "-t", "tmpfs", "-o", "size=64k,ro", "tmpfs") as disk:
        yield disk


@contextmanager
def file_instead(place: Path) -> Iterator[Path]:
    """A file where a directory is expected, which even root cannot write to as such."""
    place.write_text("")
    yield place
