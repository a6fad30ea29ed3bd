"""The policy file: YAML (extra `yaml`) or TOML, read within bounds, complained about with line numbers.

YAML is read event by event: no tags, no aliases (which can grow without end), no depth, no key twice, and
every scalar is a text, so that a tenant called `on` or `007` keeps its name.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import stat
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from somatrace.guard.policy.model import ContentPolicy, PolicyError
from somatrace.runtime.worker import BackgroundWorker

log = logging.getLogger("somatrace")

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 6

#: A file changed less than so many nanoseconds ago may change again without its times telling.
UNSETTLED: Final = 2_000_000_000
ATTEMPTS: Final = 3

Lines = dict[tuple[str, ...], int]
Signature = tuple[int, ...]

#: The signature of no file: what had it is read again.
UNKNOWN: Final[Signature] = ()


class PolicyFile:
    """A policy file: looked at with one `stat`, read on a thread of its own when it has changed.

    `policy` is None where nothing could be read. `changed` hears of every policy that takes its place.
    """

    def __init__(self, path: Path, changed: Callable[[], None], clock: Callable[[], dt.datetime]) -> None:
        self._path = path
        self._changed = changed
        self._clock = clock
        self._raw: bytes | None = None
        self._signature: Signature | None = None  # of a file that is missing
        self.policy: ContentPolicy | None = None
        self.problem = ""
        self._worker: BackgroundWorker[None] = BackgroundWorker("content-policy", self._step, size=1)

    def look(self) -> None:
        """See whether the file has changed, and have it read."""
        if self._signature_now() != self._signature:
            self._worker.put(None)

    def read(self) -> bool:
        """Read the file now; whether another policy holds since.

        One that says something unusable keeps the last good policy: a slip of its editor revokes nothing.
        One that cannot be read at all says nothing, so nothing is granted.
        """
        try:
            raw, signature = read_file(self._path)
        except Exception as error:
            held = self.policy is not None
            self.policy = self._raw = self._signature = None
            self._say(f"nothing is granted: {_why(error)}")
            return held
        read, problem = False, ""
        if raw != self._raw:
            try:
                self.policy, read = parse(raw, self._path.suffix, now=self._clock()), True
            except Exception as error:
                held = self.policy is not None
                problem = str(error) if isinstance(error, PolicyError) else type(error).__name__
                problem = f"{'the last good one holds' if held else 'nothing is granted'}: {problem}"
            self._say(problem.partition("\n")[0])
            self._raw = raw
        self._signature = signature  # last: a child forked in between reads the file again
        return read

    def close(self) -> None:
        self._worker.close(0.1)

    def _say(self, problem: str) -> None:
        line = f"SOMATRACE_CONTENT_POLICY_FILE: {problem}" if problem else ""
        if line and line != self.problem:
            log.warning("%s", line)
        self.problem = line

    def _step(self, items: Sequence[None]) -> None:
        if items and self.read():
            self._changed()

    def _signature_now(self) -> Signature | None:
        try:
            return _signature(self._path.stat())
        except (OSError, ValueError):
            return None


class UnreadablePolicyError(OSError):
    """The file could be opened, and is none to read; says what to do."""


def read_policy(path: Path, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in a file. OSError if it cannot be read, PolicyError if it cannot be used."""
    return parse(read_file(path)[0], path.suffix, now=now)


def read_file(path: Path) -> tuple[bytes, Signature]:
    """What a regular file holds, one byte more than it may at most, and by what a change is seen.

    Never waits, as opening a pipe would. Links are followed: Kubernetes mounts files as links and swaps them.
    A file that changes meanwhile is read again, so that no half of one policy and half of another holds. The
    signature of a file changed just now is unknown: the next change might not show in its times.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(ATTEMPTS):
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadablePolicyError("not a regular file: name one")
            with open(handle, "rb", closefd=False) as file:
                file.seek(0)
                raw = file.read(MAX_BYTES + 1)
            if _signature(os.fstat(handle)) == _signature(status):
                settled = abs(time.time_ns() - status.st_ctime_ns) > UNSETTLED
                return raw, _signature(status) if settled else UNKNOWN
    finally:
        os.close(handle)
    raise UnreadablePolicyError("the file changes while it is read: write it aside and rename it")


def _signature(status: os.stat_result) -> Signature:
    """`ctime` is there because nobody can set it: what copies a file's `mtime` along hides no change."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _why(error: Exception) -> str:
    if isinstance(error, UnreadablePolicyError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "the file is missing: create it, or unset the variable"
    return f"the file cannot be read ({type(error).__name__}): check its path and permissions"


def parse(raw: bytes, suffix: str, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in the bytes of a file whose name ends in `suffix`."""
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"line {line}: not UTF-8") from None
    return parse_text(text, suffix, now=now)


def parse_text(text: str, suffix: str, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy written in `text`; `suffix` is that of its file: .yaml, .yml or .toml."""
    if suffix.lower() in (".yaml", ".yml"):
        tree, lines = _from_yaml(text)
    elif suffix.lower() == ".toml":
        tree, lines = _from_toml(text)
    else:
        raise PolicyError("the file's name ends in .yaml, .yml or .toml")

    def where(at: tuple[str, ...]) -> str:
        while at and at not in lines:
            at = at[:-1]
        return f"line {lines[at]}: " if at else ""

    return ContentPolicy.parse(tree, now=now, where=where)


# -- TOML ---------------------------------------------------------------------------------------------------


#: Texts and comments of TOML, also those that nothing ends; each is matched in one pass.
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
    """A key of thousands of parts takes tomllib seconds: its time grows with their square."""
    bare = _TOML_TEXT.sub(lambda found: "\n" * found[0].count("\n"), text)
    for number, line in enumerate(bare.split("\n"), 1):
        if any(part.count(".") >= MAX_DEPTH for part in _TOML_BETWEEN_KEYS.split(line)):
            raise PolicyError(f"line {number}: nested too deeply")


def _from_toml(text: str) -> tuple[dict[str, Any], Lines]:
    _refuse_deep_keys(text)
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for numbers of thousands of digits
        message = re.sub(r"\s*\(at [^()]*\)$", "", str(error))
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.rstrip().count("\n") + 1  # "at end of document"
        raise PolicyError(f"line {number}: not TOML: {message[:120]}") from None
    return tree, _toml_lines(text)


def _toml_lines(text: str) -> Lines:
    """Where tables and keys stand, as far as plain headers and `key =` lines say."""
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
            "a YAML file needs the extra yaml: pip install 'somatrace[yaml]', or write it as TOML"
        ) from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(type(event).__name__, event)
    except UnicodeEncodeError:
        raise PolicyError("not YAML: half a character") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise PolicyError(
            f"{line}not YAML: {str(getattr(error, 'problem', '') or 'unreadable')[:120]}"
        ) from None
    return builder.root, builder.lines


class _Builder:
    """Puts a tree of tables, lists and texts together from YAML's events."""

    def __init__(self) -> None:
        self.root: Any = None
        self.lines: Lines = {}
        self._open: list[tuple[Any, tuple[str, ...]]] = []
        self._key: list[str | None] = []
        self._documents = 0

    def take(self, kind: str, event: Any) -> None:
        line = event.start_mark.line + 1
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise PolicyError(f"line {line}: anchors and aliases are not read")
        if getattr(event, "tag", None) not in (None, "!"):
            raise PolicyError(f"line {line}: tags are not read")
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise PolicyError(f"line {line}: one document only")
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
                raise PolicyError(f"line {line}: {event.value[:40]!r} stands there twice")
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
        """Put a value where it belongs; its path."""
        if not self._open:
            self.root = value
            return ()
        inside, path = self._open[-1]
        if isinstance(inside, list):
            inside.append(value)
            return path
        key = self._key[-1]
        if key is None:
            raise PolicyError(f"line {line}: a name is a text")
        inside[key] = value
        self._key[-1] = None
        return (*path, key)
