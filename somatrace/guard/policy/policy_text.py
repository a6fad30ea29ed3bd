"""Parse the text of a policy, YAML (extra `yaml`) or TOML, and find the lines of its settings.

YAML is read event by event: no tags, no aliases (which can expand without limit), no deep nesting, no
duplicate keys, and every scalar is a text, so that a tenant named `on` or `007` keeps its name.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from somatrace.guard.policy.model import PolicyError

MAX_DEPTH: Final = 6

Lines = dict[tuple[str, ...], int]


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


def from_toml(text: str) -> tuple[dict[str, Any], Lines]:
    """The content of a TOML text, and the lines of its settings. Raises `PolicyError`."""
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


def from_yaml(text: str) -> tuple[Any, Lines]:
    """The content of a YAML text, and the lines of its settings. Raises `PolicyError`."""
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
