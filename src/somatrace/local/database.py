"""Connections to the one database file: several processes, forks, and a file that may go bad.

SQLite's rule is that nothing of it crosses a fork: its lock table lives in the process, and a child
that inherits it believes in locks that only the parent holds. So every connection is closed before a
fork and opened again on demand, on both sides.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from somatrace.local.place import locked
from somatrace.local.schema import SCHEMA, VERSION

FILE: Final = "local.db"
_BUSY_SECONDS: Final = 1.0
_FORK_SECONDS: Final = 2.0
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class StoreError(OSError):
    """The store cannot be used; the message says why and what to do."""


class Database:
    """A pool of connections to `<directory>/local.db`, which is created at first use."""

    def __init__(self, directory: Path, prepare: tuple[str, ...] = ()) -> None:
        """`prepare` holds statements to run on each new connection."""
        self.path = directory / FILE
        self._prepare = prepare
        self._idle: list[sqlite3.Connection] = []
        self._file: tuple[int, int] | None = None
        self._changed = threading.Condition()
        self._busy = 0
        self._forking = self._unusable = self._closed = False
        _databases.add(self)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for the block, in autocommit mode; raises `sqlite3.Error` or `OSError`.

        A transaction that the block leaves open is rolled back.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._forking, _FORK_SECONDS):
                raise StoreError("a fork is under way")
            if self._closed or self._unusable:
                raise StoreError("the store was closed, or in use in the parent when this process was forked")
            self._busy += 1
        connection = None
        try:
            connection = self._take()
            yield connection
        finally:
            if connection is not None:
                self._give_back(connection)
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def set_aside(self) -> None:
        """Move a damaged file out of the way, once, whoever of several processes comes first.

        It is kept as `local.db.corrupt-<time>`, in place of an older one.
        """
        with locked(self.path.parent):
            with self._changed:
                if self._file is None or self._file != _identity(self.path):
                    return
                self._drop_idle()
            for old in self.path.parent.glob(f"{FILE}.corrupt-*"):
                old.unlink(missing_ok=True)
            aside = f"{FILE}.corrupt-{time.time_ns()}"
            for suffix in ("-wal", "-shm", ""):
                part = self.path.with_name(FILE + suffix)
                if part.exists():
                    part.rename(self.path.with_name(aside + suffix))

    def close(self) -> None:
        """Close what is open, here only; blocks under way end first on their own."""
        with self._changed:
            self._closed = True
            self._drop_idle()

    def _take(self) -> sqlite3.Connection:
        identity = _identity(self.path)
        with self._changed:
            if identity is None or identity != self._file:
                # somebody moved or deleted the file: what is open writes into a file nobody reads
                self._drop_idle()
            elif self._idle:
                return self._idle.pop()
        return self._open()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        with self._changed:
            if not self._closed and self._file == _identity(self.path):
                self._idle.append(connection)
                return
        connection.close()

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _open(self) -> sqlite3.Connection:
        with locked(self.path.parent):
            self._own_file()
            # another thread may use it later, never two at once
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            finally:
                with self._changed:
                    self._file = _identity(self.path)
        return connection

    def _own_file(self) -> None:
        """Make the file private before SQLite sees it; never touch one that is not ours."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(self.path, flags, 0o600))
        except FileExistsError:
            found = os.lstat(self.path)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise StoreError(f"{self.path} is not a file of this user") from None

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # before anything is written: the file can shrink later without being rebuilt
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{self.path} was written by a newer somatrace: update it, or move the file away"
            )
        if version < VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        for statement in self._prepare:
            connection.execute(statement)

    def _before_fork(self) -> None:
        deadline = time.monotonic() + _FORK_SECONDS
        with self._changed:
            self._forking = True
            self._changed.wait_for(lambda: not self._busy, max(0.0, deadline - time.monotonic()))
            self._drop_idle()

    def _after_fork_in_parent(self) -> None:
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def _after_fork_in_child(self) -> None:
        self._changed = threading.Condition()
        self._forking = False
        # a write that outlasted the wait left its locks in this process's memory
        self._unusable = self._unusable or self._busy > 0
        self._busy = 0


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


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
