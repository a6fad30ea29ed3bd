"""Watch the policy file, and read it with line numbers in errors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

from somatrace.guard.policy.model import ContentPolicy, PolicyError
from somatrace.guard.policy.policy_text import from_toml, from_yaml
from somatrace.runtime.log_once import CurrentProblem
from somatrace.runtime.watched_file import MAX_BYTES, Signature, read_file, signature_of, why_unreadable
from somatrace.runtime.worker import BackgroundWorker


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
        if signature_of(self._path) != self._signature:
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
            self._report(f"nothing is granted: {why_unreadable(error)}")
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


def read_policy(path: Path, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in a file. OSError if it cannot be read, PolicyError if it cannot be used."""
    return parse(read_file(path)[0], path.suffix, now=now)


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
