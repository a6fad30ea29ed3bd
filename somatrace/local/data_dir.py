"""The directory for local data, and the lock that guards changes in it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from somatrace.runtime.clock import clock

#: The database in the directory.
STORE_FILE: Final = "local.db"
_NAME: Final = "somatrace"
_LOCK: Final = "local.lock"
_LOCK_SECONDS: Final = 1.0


def data_dir(settings_value: str, xdg_state_home: str = "") -> Path | None:
    """The directory for local data, created if missing; None if no usable one exists.

    `settings_value` (SOMATRACE_DATA_DIR) is used unchanged, and never replaced by another directory if it
    is unusable. Without it: `<xdg_state_home>/somatrace` or `~/.local/state/somatrace`, else
    `somatrace-<uid>` in the temporary directory. The last two must be private (mode 0700, owned by this
    user), since other users may have created something there.
    """
    if settings_value:
        return _given(Path(settings_value))
    state = Path(xdg_state_home)
    if not state.is_absolute():
        state = Path("~/.local/state")
    return next((path for path in map(_expanded, _candidates(state)) if path and _private(path)), None)


def existing_data_dir(settings_value: str, xdg_state_home: str = "") -> Path | None:
    """The directory that `data_dir` returns, if it is there: nothing is created or changed."""
    if settings_value:
        given = _expanded(Path(settings_value))
        return given.absolute() if given is not None and given.is_dir() else None
    state = Path(xdg_state_home)
    if not state.is_absolute():
        state = Path("~/.local/state")
    return next((path for path in map(_expanded, _candidates(state)) if path and _is_own(path)), None)


def _is_own(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and os.access(path, os.W_OK | os.X_OK)


def _candidates(state: Path) -> Iterator[Path]:
    yield state / _NAME
    import tempfile  # takes long, and is seldom needed

    try:
        directory = Path(tempfile.gettempdir())
    except OSError:
        return  # no temporary directory either: the whole file system is read-only, as in hardened containers
    yield directory / f"{_NAME}-{os.geteuid()}"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock for the block; raises `TimeoutError` after waiting one second."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory / _LOCK, flags, 0o600)
    try:
        deadline = clock.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.monotonic() >= deadline:
                    raise TimeoutError(f"{directory / _LOCK} is held by another process") from None
                clock.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _given(path: Path) -> Path | None:
    """An operator's own directory: it may be a volume, so its owner and mode are not changed."""
    expanded = _expanded(path)
    if expanded is None:
        return None
    try:
        expanded.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    usable = expanded.is_dir() and os.access(expanded, os.W_OK | os.X_OK)
    return expanded.absolute() if usable else None


def _expanded(path: Path) -> Path | None:
    try:
        return path.expanduser()
    except RuntimeError:
        # a user without a home directory, as in containers
        return None


def _private(path: Path) -> bool:
    """Make `path` a directory owned by and private to this user; returns whether that worked."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        # by descriptor, so that the directory checked is the one changed
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid():
                return False
            if stat.S_IMODE(found.st_mode) & 0o077:
                os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)
