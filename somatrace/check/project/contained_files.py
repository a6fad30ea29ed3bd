"""Read and write files of a source tree without leaving its real path, whatever its links say.

A tree may be hostile. Paths are opened one component at a time below the root, and no component may be a
link, so nothing that changes meanwhile leads outside. For reading, links inside the tree are resolved first.
The root is always given as its real path.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 32_000_000
_LONGEST_PATH = 4_096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = frozenset([errno.ELOOP, errno.EMLINK, errno.ENOTDIR])


class UnreadableFileError(Exception):
    """A file cannot be read; the message is the reason."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of a file and its status when they were read."""

    data: bytes
    status: os.stat_result


def read_file(root: str, path: str, most: int = MAX_BYTES) -> FileContent:
    """A regular file inside the root. Raises UnreadableFileError for anything else.

    Pipes and devices do not block, and a file larger than `most` bytes is not read.
    """
    try:
        descriptor = _opened(root, path)
    except (OSError, ValueError) as error:
        raise UnreadableFileError(getattr(error, "strerror", None) or "not a file name") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError("not a regular file")
        data = b""
        if status.st_size <= most:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(most + 1)
        if max(status.st_size, len(data)) > most:
            raise UnreadableFileError(f"larger than {_size(most)}")
    except OSError as error:
        raise UnreadableFileError(error.strerror or "unreadable") from None
    finally:
        os.close(descriptor)
    return FileContent(data, status)


def _size(count: int) -> str:
    return f"{count // 1_000_000} MB" if count >= 1_000_000 else f"{count // 1_000} kB"


def _opened(root: str, path: str) -> int:
    try:
        return _opened_without_links(root, path)
    except OSError as error:
        if error.errno not in _LINK:
            raise
    inner = resolved(root, path)
    if inner is None:
        raise UnreadableFileError("it leads out of the tree, or nowhere")
    return _opened_without_links(root, inner)


def _opened_without_links(root: str, path: str) -> int:
    with _folder_of(root, path) as (folder, name):
        return os.open(name, _READ, dir_fd=folder)


def resolved(root: str, path: str) -> str | None:
    """The path below the root that a path leads to; None if it leads outside or nowhere."""
    if len(path) > _LONGEST_PATH:
        return None
    try:
        return below(root, os.path.realpath(f"{root}/{path}", strict=True))
    except (OSError, ValueError, RecursionError):
        return None


def below(folder: str, path: str) -> str | None:
    """`path` relative to `folder`, both absolute; None if it is not the folder or below it."""
    if path == folder:
        return ""
    start = folder.rstrip("/") + "/"
    return path.removeprefix(start) if path.startswith(start) else None


def place_in(folder: str, path: str) -> str | None:
    """`path` relative to `folder`, from the outermost of its directories that is inside; None if none is.

    Links before that directory are the user's, and links after it may be the tree's: they are kept.
    """
    place = os.path.abspath(path)  # noqa: PTH100 -- resolve() would follow links
    cuts = [end for end, char in enumerate(place) if char == "/" and end] + [len(place)]
    for end in cuts:
        inner = below(folder, os.path.realpath(place[:end]))
        if inner is not None:
            return f"{inner}{place[end:]}".lstrip("/")
    return None


@contextmanager
def _folder_of(root: str, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that holds `path`, reached without links, and the last name."""
    *folders, name = path.split("/")
    if not name or {"", ".", ".."} & {*folders, name}:
        raise OSError(errno.ELOOP, "not a plain path below the root", path)
    here = os.open(root, _FOLDER)
    try:
        for folder in folders:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=here)
            inner = os.open(folder, _FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        yield here, name
    finally:
        os.close(here)


def write_file(root: str, path: str, data: bytes, *, mode: int = 0o666, create_folders: bool = False) -> None:
    """Replace or create a file below the root. Raises OSError if the path holds a link or a special file.

    The bytes go to a temporary file in the same directory, which is then renamed: other hard links keep
    their content, and a reader sees the old bytes or the new ones. An existing file keeps its mode.
    """
    try:
        with _folder_of(root, path, create=create_folders) as (folder, name):
            _replace(folder, name, data, mode)
    except OSError as error:
        linked = error.errno in _LINK
        reason = "not a plain file, or behind a link, which is not followed" if linked else error.strerror
        raise OSError(error.errno, reason, path) from None


def write_output(root: str, path: str, data: bytes) -> None:
    """Write to a place that the user named. No link of the tree, or below the current directory, leads away.

    Elsewhere only a link as the last component is refused, and devices and pipes are written to.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100 -- resolve() would follow links
    folders = [root] if Path(path).is_absolute() else [root, os.path.realpath(".")]
    inside = ((folder, inner) for folder in folders if (inner := place_in(folder, path)) is not None)
    found = next(inside, None)
    try:
        if found is not None:
            write_file(*found, data)
        elif place.is_relative_to("/dev") or _is_special(place):
            place.write_bytes(data)
        else:
            write_file(str(place.parent.resolve()), place.name, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _is_special(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISLNK(mode)


def _replace(folder: int, name: str, data: bytes, mode: int) -> None:
    existing = _existing(folder, name)
    draft = f".somatrace-{os.urandom(8).hex()}"
    descriptor = os.open(draft, _CREATE, mode, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if existing is not None:
                with suppress(OSError):
                    os.fchown(descriptor, existing.st_uid, existing.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(existing.st_mode) & 0o777)
            file.write(data)
        os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _existing(folder: int, name: str) -> os.stat_result | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ELOOP, "not a regular file", name)
    return found
