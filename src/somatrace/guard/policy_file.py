"""The policy file: YAML (extra `yaml`) or TOML, read within bounds, complained about with line numbers.

YAML is read event by event: no tags, no aliases (which can grow without end), no depth, no key twice, and
every scalar is a text, so that a tenant called `on` or `007` keeps its name.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from somatrace.guard.policy import ContentPolicy, PolicyError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 6

Lines = dict[tuple[str, ...], int]


def read_policy(path: Path, *, now: dt.datetime | None = None) -> ContentPolicy:
    """The policy in a file. OSError if it cannot be read, PolicyError if it cannot be used."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"line {line}: not UTF-8") from None
    return parse_text(text, path.suffix, now=now)


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


def _from_toml(text: str) -> tuple[dict[str, Any], Lines]:
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
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
