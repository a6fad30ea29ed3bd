"""Read the policy file, YAML (extra `yaml`) or TOML, with size limits and line numbers in errors.

YAML is read event by event: no tags, no aliases (which can expand without limit), no deep nesting, no
duplicate keys, and every scalar is a text, so that a tenant named `on` or `007` keeps its name.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from somatrace.guard.policy.model import ContentPolicy, PolicyError
from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import CurrentProblem
from somatrace.runtime.worker import BackgroundWorker

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 6

#: A file changed fewer nanoseconds ago than this may change again without a change in its timestamps.
UNSETTLED: Final = 2_000_000_000
ATTEMPTS: Final = 3

Lines = dict[tuple[str, ...], int]
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
        tree, lines = _from_yaml(text)
    elif suffix.lower() == ".toml":
        tree, lines = _from_toml(text)
    else:
        raise PolicyError("the file name must end in .yaml, .yml or .toml")

    def where(at: tuple[str, ...]) -> str:
        while at and at not in lines:
            at = at[:-1]
        return f"line {lines[at]}: " if at else ""

    return ContentPolicy.parse(tree, now=now, where=where)


# -- TOML ---------------------------------------------------------------------------------------------------


#: TOML strings and comments, including unterminated ones; each is matched in one pass.
_TOML_TEXT: Final = re.compile(
    r'''
      """ [^"\\]* (?: (?: \\[\s\S] | "{1,2}(?!") ) [^"\\]* )* (?: "{3,5} | \\?\Z )
    | \'{3} [^']* (?: '{1,2}(?!') [^']* )* (?: '{3,5} | \Z )
    | " [^"\\\n]* (?: \\. [^"\\\n]* )* "?
    | ' [^'\n]* '?
    | \# [^\n]*
    ''',
    re.VERBOSE,
)
_TOML_BETWEEN_KEYS: Final = re.compile(r"[=,\[\]{}]")


def _refuse_deep_keys(text: str) -> None:
    """Reject keys of thousands of parts, which take tomllib seconds: its time is quadratic in the parts."""
    bare = _TOML_TEXT.sub(lambda found: "\n" * found[0].count("\n"), text)
    for number, line in enumerate(bare.split("\n"), 1):
        if any(part.count(".") >= MAX_DEPTH for part in _TOML_BETWEEN_KEYS.split(line)):
            raise PolicyError(f"line {number}: nested too deeply")


def _from_toml(text: str) -> tuple[dict[str, Any], Lines]:
    _refuse_deep_keys(text)
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also raised for numbers of thousands of digits
        message = re.sub(r"\s*\(at [^()]*\)$", "", str(error))
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.rstrip().count("\n") + 1  # "at end of document"
        raise PolicyError(f"line {number}: not TOML: {message[:120]}") from None
    return tree, _toml_lines(text)


def _toml_lines(text: str) -> Lines:
    """The lines of tables and keys, as far as plain headers and `key =` lines show them."""
    lines: Lines = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]{1,300})\]", line):
            table = _toml_path(header[1])
            lines.setdefault(table, number)
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]{1,300})\s*=", line):
            lines.setdefault((*table, *_toml_path(key[1])), number)
    return lines


def _toml_path(dotted: str) -> tuple[str, ...]:
    parts = re.findall(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)", dotted)
    return tuple(one or other or bare for one, other, bare in parts)


# -- YAML ---------------------------------------------------------------------------------------------------


def _from_yaml(text: str) -> tuple[Any, Lines]:
    try:
        import yaml
    except ImportError:
        raise PolicyError(
            "a YAML file requires the extra yaml: pip install 'somatrace[yaml]', or use TOML"
        ) from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(type(event).__name__, event)
    except UnicodeEncodeError:
        raise PolicyError("not YAML: incomplete character") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise PolicyError(
            f"{line}not YAML: {str(getattr(error, 'problem', '') or 'unreadable')[:120]}"
        ) from None
    return builder.root, builder.lines


class _Builder:
    """Builds a tree of tables, lists and texts from YAML events."""

    def __init__(self) -> None:
        self.root: Any = None
        self.lines: Lines = {}
        self._open: list[tuple[Any, tuple[str, ...]]] = []
        self._key: list[str | None] = []
        self._documents = 0

    def take(self, kind: str, event: Any) -> None:
        line = event.start_mark.line + 1
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise PolicyError(f"line {line}: anchors and aliases are not allowed")
        if getattr(event, "tag", None) not in (None, "!"):
            raise PolicyError(f"line {line}: tags are not allowed")
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise PolicyError(f"line {line}: only one document is allowed")
        elif kind == "ScalarEvent":
            self._scalar(event, line)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._start({} if kind == "MappingStartEvent" else [], line)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._open.pop()
            self._key.pop()

    def _scalar(self, event: Any, line: int) -> None:
        inside = self._open[-1][0] if self._open else None
        if isinstance(inside, dict) and self._key[-1] is None:
            if event.value in inside:
                raise PolicyError(f"line {line}: {event.value[:40]!r} is a duplicate key")
            self._key[-1] = event.value
            inside[event.value] = None
            self.lines[(*self._open[-1][1], event.value)] = line
            return
        empty = event.value in ("", "~", "null") and event.implicit[0]
        self._put(None if empty else event.value)

    def _start(self, container: Any, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise PolicyError(f"line {line}: nested too deeply")
        path = self._put(container, line)
        self._open.append((container, path))
        self._key.append(None)

    def _put(self, value: Any, line: int | None = None) -> tuple[str, ...]:
        """Add a value to the open container and return its path."""
        if not self._open:
            self.root = value
            return ()
        inside, path = self._open[-1]
        if isinstance(inside, list):
            inside.append(value)
            return path
        key = self._key[-1]
        if key is None:
            raise PolicyError(f"line {line}: a name must be a text")
        inside[key] = value
        self._key[-1] = None
        return (*path, key)
