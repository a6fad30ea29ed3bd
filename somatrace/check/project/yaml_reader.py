"""Dependency-free reader for the subset of YAML used by launchers.

Supports block and flow collections, plain, quoted and block scalars, comments, anchors, aliases,
merge keys and multiple documents. Anything else raises UndecidableError rather than being misread.
Scalars stay text.
"""

from __future__ import annotations

import re
from typing import Any

from somatrace.check.project.yaml_flow import (
    ALIAS,
    UndecidableError,
    YamlAnchors,
    YamlFlow,
    YamlText,
    balanced,
    closed,
    unquoted,
)

_KEY = re.compile(
    r"""^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#"'\[\]{},&*!|>%@`?-][^#]*?|-[^\s#][^#]*?|\?[^\s#][^#]*?)(?<!\s)\s*+:(?=\s|$)"""
)
_ANCHOR = re.compile(r"^&([\w.-]+)(?:\s+|$)")
_TAG = re.compile(r"^!\S*(?:\s+|$)")
_BLOCK = re.compile(r"^[|>]([+-]?)(\d?)([+-]?)$")
_MOST_LINES = 20_000
_MOST_DEPTH = 60
_LONGEST_LINE = 20_000
#: A scalar or flow collection of several lines is scanned again with each line.
_LONGEST_VALUE = 20_000
_MOST_VALUE_LINES = 500
_LONGEST_TEXT = 2_000_000

Line = tuple[int, str, int]


def load(text: str) -> list[Any]:
    """The documents of a file: dicts, lists, YamlText and None. Raises UndecidableError."""
    raw = text.replace("\r\n", "\n").split("\n")
    if len(text) > _LONGEST_TEXT or max(map(len, raw)) > _LONGEST_LINE:
        raise UndecidableError("too long")
    if len(raw) > _MOST_LINES or "\t" in "".join(line[: len(line) - len(line.lstrip())] for line in raw):
        raise UndecidableError("too long, or indented with tabs")
    documents: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(raw, 1):
        if line.startswith("---") and (len(line) == 3 or line[3] in " \t"):
            documents.append([])
            if line[3:].strip() and not line[3:].strip().startswith("#"):
                raise UndecidableError("content on the line of ---")
        elif line.rstrip() == "...":
            documents.append([])
        elif not line.startswith("%"):
            documents[-1].append((number, line))
    return [_Reader(document).read() for document in documents if any(_content(line) for _, line in document)]


def _content(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")


class _Reader:
    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self._lines = lines
        self._at = 0
        self._anchors = YamlAnchors()
        self._depth = 0

    def read(self) -> Any:
        value = self._node(self._indent())
        if self._peek() is not None:
            raise UndecidableError("text after the end of the document")
        return value

    def _peek(self) -> Line | None:
        """The next non-blank line: its indentation, text and number."""
        while self._at < len(self._lines):
            number, line = self._lines[self._at]
            if _content(line):
                return len(line) - len(line.lstrip(" ")), line.strip(), number
            self._at += 1
        return None

    def _indent(self) -> int:
        line = self._peek()
        return line[0] if line is not None else 0

    def _node(self, indent: int) -> Any:
        line = self._peek()
        if line is None or line[0] < indent:
            return None
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise UndecidableError("nested too deeply")
        try:
            if line[1] == "-" or line[1].startswith("- "):
                return self._sequence(line[0])
            if _KEY.match(line[1]):
                return self._mapping(line[0])
            self._at += 1
            return self._value(line[1], line[2], line[0] - 1)
        finally:
            self._depth -= 1

    def _sequence(self, indent: int) -> list[Any]:
        found: list[Any] = []
        while (
            (line := self._peek()) is not None
            and line[0] == indent
            and (line[1] == "-" or line[1].startswith("- "))
        ):
            inner = line[1][1:].lstrip(" ")
            if not inner or inner.startswith("#"):
                self._at += 1
                found.append(self._below(indent))
            elif _KEY.match(_unmarked(inner)) or inner.startswith("- "):
                number, raw = self._lines[self._at]
                start = len(raw) - len(raw.lstrip(" ")) + len(line[1]) - len(inner)
                name, inner = self._mark(inner)
                self._lines[self._at] = (number, " " * start + inner)
                before = self._anchors.count
                value = self._node(start)
                self._anchors.keep(name, value, before)
                found.append(value)
            else:
                self._at += 1
                found.append(self._value(inner, line[2], indent))
        if line is not None and line[0] > indent:
            raise UndecidableError(f"line {line[2]}: indentation")
        return found

    def _mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[Any] = []
        while (line := self._peek()) is not None and line[0] == indent:
            match = _KEY.match(line[1])
            if match is None:
                raise UndecidableError(f"line {line[2]}: not a key")
            self._at += 1
            key = YamlText.at(unquoted(match[1]), line[2])
            rest = line[1][match.end() :].strip()
            value = (
                self._below(indent)
                if not rest or rest.startswith("#")
                else self._value(rest, line[2], indent)
            )
            if key == "<<":
                merged.extend(value if isinstance(value, list) else [value])
            else:
                found[key] = value
        if line is not None and line[0] > indent:
            raise UndecidableError(f"line {line[2]}: indentation")
        for other in merged:
            if not isinstance(other, dict):
                raise UndecidableError("a merge of a value that is not a mapping")
            found = {**other, **found}
        return found

    def _below(self, indent: int) -> Any:
        """The block under a key or dash. A sequence may have the same indentation as its key."""
        line = self._peek()
        if line is None or line[0] < indent:
            return None
        if line[0] == indent:
            raw = self._lines[self._at - 1][1]
            under_key = not raw.lstrip().startswith("- ") or _KEY.match(raw.lstrip())
            return self._sequence(indent) if under_key and line[1].startswith("- ") else None
        return self._node(line[0])

    def _mark(self, text: str) -> tuple[str, str]:
        """An anchor's name, and the text without anchor and tag."""
        name = ""
        while True:
            if anchor := _ANCHOR.match(text):
                name, text = anchor[1], text[anchor.end() :]
            elif tag := _TAG.match(text):
                text = text[tag.end() :]
            else:
                return name, text

    def _value(self, text: str, number: int, indent: int) -> Any:
        name, text = self._mark(text)
        before = self._anchors.count
        self._anchors.add()
        value = self._marked(text, number, indent)
        self._anchors.keep(name, value, before)
        return value

    def _marked(self, text: str, number: int, indent: int) -> Any:
        bare = _uncommented(text)
        if not bare:
            return self._below(indent)
        if alias := ALIAS.match(bare):
            return self._anchors.value(alias[1], number)
        if block := _BLOCK.match(bare):
            return self._block(bare[0] == ">", (block[1] or block[3]), number, indent)
        if text[0] in "[{":
            return YamlFlow(self._joined_flow(text), number, self._anchors).read()
        return self._scalar(text, bare, number, indent)

    def _scalar(self, text: str, bare: str, number: int, indent: int) -> Any:
        if text[0] in "\"'":
            first = self._at
            while not closed(text):
                more = self._next_raw(text, first)
                text = f"{text} {more}" if more else f"{text}\n"
            end = closed(text)
            if text[end:].strip() and not text[end:].strip().startswith("#"):
                raise UndecidableError(f"line {number}: text after a quoted scalar")
            return YamlText.at(unquoted(text[:end]), number)
        if text[0] in "%@`|>&*?" and not (text[0] == "?" and text[1:2].strip()):
            raise UndecidableError(f"line {number}: {text[0]} starts no scalar")
        if ": " in bare or bare.endswith(":"):
            raise UndecidableError(f"line {number}: a mapping inside a scalar")
        while (line := self._peek()) is not None and line[0] > indent and bare == text.strip():
            if _KEY.match(line[1]):
                raise UndecidableError(f"line {line[2]}: a mapping inside a scalar")
            if line[2] > number + 1 and any(
                not raw.strip() for _, raw in self._lines[self._at - 1 : self._at]
            ):
                raise UndecidableError(f"line {line[2]}: paragraphs in a plain scalar")
            if len(text) > _LONGEST_VALUE:
                raise UndecidableError("a value that is too long")
            self._at += 1
            text = f"{text.strip()} {line[1]}"
            bare = f"{bare} {_uncommented(line[1])}"
        return YamlText.at(bare, number, plain=True)

    def _next_raw(self, read: str, first: int) -> str:
        """The next line of a value, of which `read` has been read, from the line `first` on."""
        if len(read) > _LONGEST_VALUE or self._at - first > _MOST_VALUE_LINES:
            raise UndecidableError("a value that is too long")
        if self._at >= len(self._lines):
            raise UndecidableError("an open quotation")
        self._at += 1
        return self._lines[self._at - 1][1].strip()

    def _joined_flow(self, text: str) -> str:
        """A multi-line flow collection joined into one line."""
        first = self._at
        while not balanced(text):
            text = f"{text}\n{self._next_raw(text, first)}"
        return text

    def _block(self, folded: bool, chomp: str, number: int, indent: int) -> YamlText:
        lines: list[str] = []
        inner: int | None = None
        while self._at < len(self._lines):
            raw = self._lines[self._at][1]
            here = len(raw) - len(raw.lstrip(" "))
            if raw.strip():
                if here <= indent:
                    break
                inner = here if inner is None else inner
                if here < inner:
                    raise UndecidableError(f"line {number}: indentation of a block scalar")
            lines.append(raw[inner or 0 :] if raw.strip() else "")
            self._at += 1
        text = "\n".join(lines).rstrip("\n")
        if folded:
            text = _folded(text.split("\n"))
        return YamlText.at(text if chomp == "-" or not text else f"{text}\n", number)


def _folded(lines: list[str]) -> str:
    """Join lines with spaces; empty and more-indented lines keep their line breaks."""
    found = lines[0]
    last, empty = lines[0], 0
    for line in lines[1:]:
        if not line:
            empty += 1
            continue
        kept = last[:1] in {"", " "} or line[0] == " "
        found += "\n" * (empty + kept) + line if kept or empty else f" {line}"
        last, empty = line, 0
    return found


def _unmarked(text: str) -> str:
    while match := _ANCHOR.match(text) or _TAG.match(text):
        text = text[match.end() :]
    return text


def _uncommented(text: str) -> str:
    if text[:1] in {'"', "'"}:
        return text
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()


__all__ = ["UndecidableError", "YamlText", "load"]
