"""Scalars and flow collections of the YAML reader."""

from __future__ import annotations

import re
from typing import Any

ALIAS = re.compile(r"^\*([\w.-]+)$")
_MOST_VALUES = 100_000
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "/": "/", "0": "\0", "r": "\r", " ": " ", "e": "\x1b"}
_TOKEN = re.compile(
    r"""\s*+(?:\#[^\n]*+\s*+)*+
    ("(?:[^"\\]|\\.)*" | '(?:[^']|'')*' | [\[\]{},] | :(?=[\s,\[\]{}]|$)
    | (?:[^\s,\[\]{}:\#] | :(?=\S)(?![,\[\]{}]) | (?<=\S)\# | [ ](?=[^\s,\[\]{}:\#]))+)""",
    re.VERBOSE,
)


class UndecidableError(Exception):
    """The YAML uses syntax that this reader does not support."""


class YamlAnchors:
    """The anchored values of a document. Aliases of aliases multiply, so the values they add are counted."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[Any, int]] = {}
        self.count = 0

    def keep(self, name: str, value: Any, before: int) -> None:
        """Record the value of an anchor that was at `before` values when it began."""
        if name:
            self._values[name] = value, self.count - before

    def add(self) -> None:
        """Count one value."""
        self.count += 1

    def value(self, name: str, line: int) -> Any:
        """The value that an alias repeats. Raises UndecidableError."""
        if name not in self._values:
            raise UndecidableError(f"line {line}: unknown alias")
        value, count = self._values[name]
        self.count += count
        if self.count > _MOST_VALUES:
            raise UndecidableError(f"line {line}: aliases repeat too many values")
        return value


class YamlText(str):
    """A scalar with its line number."""

    __slots__ = ("line", "plain")
    line: int
    plain: bool

    @classmethod
    def at(cls, value: str, line: int, *, plain: bool = False) -> YamlText:
        made = cls(value)
        made.line, made.plain = line, plain
        return made


def unquoted(text: str) -> str:
    """A scalar without its quotes and escapes."""
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if not (text.startswith('"') and text.endswith('"') and len(text) > 1):
        return text
    return re.sub(r"\\(.)", _escape, text[1:-1], flags=re.DOTALL)


def _escape(match: re.Match[str]) -> str:
    if match[1] not in _ESCAPES:
        raise UndecidableError(f"the escape \\{match[1]}")
    return _ESCAPES[match[1]]


def closed(text: str) -> int:
    """The end of a quoted scalar; 0 if it is still open."""
    match = re.match(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'', text, re.DOTALL)
    return match.end() if match else 0


def balanced(text: str) -> bool:
    """Whether every bracket and quote of a flow collection is closed."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|(?:^|\s)#[^\n]*', "", text, flags=re.DOTALL)
    if '"' in bare:
        return False
    opened = bare.count("[") + bare.count("{")
    return opened <= bare.count("]") + bare.count("}")


class YamlFlow:
    """Parser for flow collections: `[a, "b"]` and `{a: b}`."""

    def __init__(self, text: str, number: int, anchors: YamlAnchors) -> None:
        self._tokens: list[str] = []
        self._number, self._anchors, self._at = number, anchors, 0
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                if re.fullmatch(r"\s*+(?:#[^\n]*+\s*+)*+", text[at:]):
                    break
                raise UndecidableError(f"line {number}: a flow collection")
            self._tokens.append(match[1])
            at = match.end()

    def read(self) -> Any:
        value = self._value()
        if self._at != len(self._tokens):
            raise UndecidableError(f"line {self._number}: text after a flow collection")
        return value

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise UndecidableError(f"line {self._number}: an open flow collection")
        self._at += 1
        return self._tokens[self._at - 1]

    def _value(self) -> Any:
        found = self._next()
        self._anchors.add()
        if found == "[":
            return self._list()
        if found == "{":
            return self._map()
        if found in {"]", "}", ",", ":"} or found[0] in "&!|>%@`":
            raise UndecidableError(f"line {self._number}: a flow collection")
        if alias := ALIAS.match(found):
            return self._anchors.value(alias[1], self._number)
        return YamlText.at(unquoted(self._folded(found)), self._number, plain=found[0] not in "\"'")

    def _folded(self, found: str) -> str:
        """A multi-line scalar: a line break becomes a space, an empty line becomes a line break."""
        if "\\\n" in found:
            raise UndecidableError(f"line {self._number}: the escape of a line's end")
        return re.sub(r"[ \t]*\n[ \t\n]*", lambda ends: "\n" * (ends[0].count("\n") - 1) or " ", found)

    def _list(self) -> list[Any]:
        found: list[Any] = []
        while True:
            if self._peek() == "]":
                self._at += 1
                return found
            found.append(self._value())
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != "]":
                raise UndecidableError(f"line {self._number}: a flow sequence")

    def _map(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            if self._peek() == "}":
                self._at += 1
                return found
            key = self._value()
            if not isinstance(key, str) or self._next() != ":":
                raise UndecidableError(f"line {self._number}: a flow mapping")
            found[key] = None if self._peek() in {",", "}"} else self._value()
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != "}":
                raise UndecidableError(f"line {self._number}: a flow mapping")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""
