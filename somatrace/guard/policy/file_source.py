"""Watch and read the policy file, with a size limit and line numbers in errors."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from somatrace.guard.policy.model import ContentPolicy, PolicyError
from somatrace.guard.policy.policy_text import from_toml, from_yaml
from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import CurrentProblem
from somatrace.runtime.worker import BackgroundWorker

MAX_BYTES: Final = 1 << 20

#: A file changed fewer nanoseconds ago than this may change again without a change in its timestamps.
UNSETTLED: Final = 2_000_000_000
ATTEMPTS: Final = 3

Signature = tuple[int, ...]

#: Matches no file's signature, so the file is read again.
UNKNOWN: Final[Signature] = ()


class PolicyFile:
    """A policy file, checked with one `stat` and read on a separate thread when it has changed.

    `policy` is None if the file could not be read. `changed` is called for every new policy.
    """

    def __init__(self, path: Path, changed: Callable[[], None], clock: Callable[[], dt.datetime]) -> None:
        self._path = path
        self._changed = changed
        self._clock = clock
        self._raw: bytes | None = None
        self._signature: Signature | None = None  # None: the file is missing
        self.policy: ContentPolicy | None = None
        self._problem = CurrentProblem(each_change=True)
        self._worker: BackgroundWorker[None] = BackgroundWorker("content-policy", self._step, size=1)

    def look(self) -> None:
        """Check whether the file has changed, and schedule reading it."""
        if self._signature_now() != self._signature:
            self._worker.put(None)

    @property
    def problem(self) -> str:
        """The current problem with the file, "" if there is none."""
        return self._problem.line

    def read(self) -> bool:
        """Read the file now, and return whether the policy changed.

        An invalid file keeps the last good policy, so that a typo revokes nothing. With an unreadable file,
        nothing is granted.
        """
        try:
            raw, signature = read_file(self._path)
        except Exception as error:
            held = self.policy is not None
            self.policy = self._raw = self._signature = None
            self._report(f"nothing is granted: {_reason(error)}")
            return held
        read, problem = False, ""
        if raw != self._raw:
            try:
                self.policy, read = parse(raw, self._path.suffix, now=self._clock()), True
            except Exception as error:
                held = self.policy is not None
                problem = str(error) if isinstance(error, PolicyError) else type(error).__name__
                problem = (
                    f"{'the last good policy stays in force' if held else 'nothing is granted'}: {problem}"
                )
            self._report(problem.partition("\n")[0])
            self._raw = raw
        self._signature = signature  # set last: a child forked before this reads the file again
        return read

    def close(self) -> None:
        self._worker.close(0.1)

    def _report(self, problem: str) -> None:
        self._problem.set(f"SOMATRACE_CONTENT_POLICY_FILE: {problem}" if problem else "")

    def _step(self, items: Sequence[None]) -> None:
        if items and self.read():
            self._changed()

    def _signature_now(self) -> Signature | None:
        try:
            return _signature(self._path.stat())
        except (OSError, ValueError):
            return None


class UnreadablePolicyError(OSError):
    """The file could be opened but not read; the message says how to fix it."""


def read_policy(path: Path, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in a file. OSError if it cannot be read, PolicyError if it cannot be used."""
    return parse(read_file(path)[0], path.suffix, now=now)


def read_file(path: Path) -> tuple[bytes, Signature]:
    """The contents of a regular file, up to one byte above the limit, and a signature to detect changes.

    Never blocks, as opening a pipe would. Links are followed: Kubernetes mounts files as links and swaps
    them. A file that changes while being read is read again, so that two policies are never mixed.
    The signature of a file changed just now is unknown: the next change might not alter its timestamps.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(ATTEMPTS):
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadablePolicyError("not a regular file: set the path of one")
            with open(handle, "rb", closefd=False) as file:
                file.seek(0)
                raw = file.read(MAX_BYTES + 1)
            if _signature(os.fstat(handle)) == _signature(status):
                settled = abs(clock.time_ns() - status.st_ctime_ns) > UNSETTLED
                return raw, _signature(status) if settled else UNKNOWN
    finally:
        os.close(handle)
    raise UnreadablePolicyError("the file keeps changing while it is read: write a new file and rename it")


def _signature(status: os.stat_result) -> Signature:
    """Includes `ctime`, which cannot be set: copying a file's `mtime` does not hide a change."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _reason(error: Exception) -> str:
    if isinstance(error, UnreadablePolicyError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "the file is missing: create it, or unset the variable"
    return f"the file cannot be read ({type(error).__name__}): check its path and permissions"


def parse(raw: bytes, suffix: str, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in a file's bytes; `suffix` is the file's extension."""
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"line {line}: not UTF-8") from None
    return parse_text(text, suffix, now=now)


def parse_text(text: str, suffix: str, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in `text`; `suffix` is its file's extension: .yaml, .yml or .toml."""
    if suffix.lower() in (".yaml", ".yml"):
        tree, lines = from_yaml(text)
    elif suffix.lower() == ".toml":
        tree, lines = from_toml(text)
    else:
        raise PolicyError("the file name must end in .yaml, .yml or .toml")

    def where(at: tuple[str, ...]) -> str:
        while at and at not in lines:
            at = at[:-1]
        return f"line {lines[at]}: " if at else ""

    return ContentPolicy.parse(tree, now=now, where=where)
