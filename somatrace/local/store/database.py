"""Connections to the database file, safe across processes and forks, with recovery from corruption.

SQLite connections must not cross a fork: the lock table is process memory, and a child that inherits it
assumes locks that only the parent holds. Every connection is therefore closed before a fork and reopened
on demand, on both sides.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from somatrace.local.data_dir import STORE_FILE, locked
from somatrace.local.store.schema import SCHEMA, VERSION
from somatrace.runtime.clock import clock

FILE: Final = STORE_FILE
_BUSY_SECONDS: Final = 1.0
_FORK_SECONDS: Final = 2.0
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

#: device and inode; None if there is no file
_Identity = tuple[int, int] | None
Result = TypeVar("Result")


class StoreError(OSError):
    """The store cannot be used; the message names the reason and the remedy."""


class _OutdatedError(Exception):
    """The file has the tables of an older version."""


class Database:
    """A pool of connections to `<directory>/local.db`, which is created on first use."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self._idle: list[tuple[_Identity, sqlite3.Connection]] = []
        self._changed = threading.Condition()
        self._busy = 0
        self._forking = self._closed = False
        _databases.add(self)

    def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return `work` of a connection in autocommit mode; a transaction left open is rolled back.

        Raises `sqlite3.Error` or `OSError`. If the file is damaged, runs `work` once more on a new file.
        """
        retried = False
        while True:
            with self._entered():
                identity, connection = self._acquire()
                try:
                    return work(connection)
                except sqlite3.DatabaseError as error:
                    if retried or not _is_corrupt(error):
                        raise
                finally:
                    self._release(identity, connection)
            with locked(self.path.parent):
                # another process may have set it aside already
                if identity == _identity(self.path):
                    self._set_aside("corrupt")
            retried = True

    def close(self) -> None:
        """Close the connections of this process; those in use are closed when their work ends."""
        with self._changed:
            self._closed = True
            self._drop_idle()

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Count as busy, so that a fork waits; wait while a fork is in progress."""
        with self._changed:
            if not _wait(self._changed, lambda: not self._forking):
                raise StoreError("a fork is in progress")
            if self._closed:
                raise StoreError("the store is closed")
            if self.path in _inherited:
                raise StoreError("the store was in use when this process was forked")
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _acquire(self) -> tuple[_Identity, sqlite3.Connection]:
        current = _identity(self.path)
        with self._changed:
            while self._idle:
                identity, connection = self._idle.pop()
                if identity == current:
                    return identity, connection
                # the file was moved or deleted, and this connection still writes to the old one
                connection.close()
        with locked(self.path.parent):
            try:
                return self._open()
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                reason = "corrupt"
            except _OutdatedError:
                reason = "old"
            self._set_aside(reason)
            return self._open()

    def _release(self, identity: _Identity, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        with self._changed:
            if not self._closed:
                self._idle.append((identity, connection))
                return
        connection.close()

    def _set_aside(self, reason: str) -> None:
        """Rename the file to `local.db.<reason>-<time>`, replacing an older one. Needs the lock."""
        with self._changed:
            self._drop_idle()
        for old in self.path.parent.glob(f"{FILE}.{reason}-*"):
            old.unlink(missing_ok=True)
        aside = f"{FILE}.{reason}-{clock.time_ns()}"
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(FILE + suffix)
            if part.exists():
                part.rename(self.path.with_name(aside + suffix))

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    def _open(self) -> tuple[_Identity, sqlite3.Connection]:
        """Open a new connection. Needs the lock: creating the file twice at the same time would fail."""
        self._create_private_file()
        # another thread may use it later, but never two at the same time
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return _identity(self.path), connection

    def _create_private_file(self) -> None:
        """Create the file as private before SQLite opens it; reject a file this user does not own."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(self.path, flags, 0o600))
        except FileExistsError:
            found = os.lstat(self.path)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise StoreError(f"{self.path} is not a regular file owned by this user") from None

    def _configure(self, connection: sqlite3.Connection) -> None:
        # set before anything is written, so that the file can shrink later without a rebuild
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{self.path} was written by a newer somatrace: upgrade somatrace or move the file away"
            )
        if 0 < version < VERSION:
            raise _OutdatedError
        if version < VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def _before_fork(self) -> None:
        with self._changed:
            self._forking = True
            _wait(self._changed, lambda: not self._busy)
            self._drop_idle()

    def _after_fork_in_parent(self) -> None:
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def _after_fork_in_child(self) -> None:
        self._changed = threading.Condition()
        self._forking = False
        if self._busy:
            # work that outlasted the wait left its locks in the memory of this process
            _inherited.add(self.path)
        self._busy = 0


def _wait(changed: threading.Condition, done: Callable[[], bool]) -> bool:
    """Wait up to _FORK_SECONDS until `done`. `Condition.wait_for` reads a clock that programs may replace."""
    deadline = clock.monotonic() + _FORK_SECONDS
    while not done() and (left := deadline - clock.monotonic()) > 0:
        changed.wait(left)
    return done()


def _is_corrupt(error: sqlite3.Error) -> bool:
    """Whether `error` means that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def _identity(path: Path) -> _Identity:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: set[Path] = set()


def _before_fork() -> None:
    for database in list(_databases):
        database._before_fork()


def _after_fork_in_parent() -> None:
    for database in list(_databases):
        database._after_fork_in_parent()


def _after_fork_in_child() -> None:
    for database in list(_databases):
        database._after_fork_in_child()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
