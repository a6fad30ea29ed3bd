"""The instructions of a Dockerfile: joined lines, without comments and the bodies of here-documents."""

from __future__ import annotations

import re
from typing import NamedTuple

#: As in Docker's own parser: a word of its own, which arithmetic (`$((1<<20))`) and `<<<` are not.
_HEREDOC = re.compile(r"(?<!\S)\d*<<(-?)([\"']?)([A-Za-z0-9_.-]+)\2(?!\S)")
_WITH_HEREDOC = frozenset(["RUN", "COPY", "ADD"])


class HereDocument(NamedTuple):
    """The text of a here-document and its first line. A `quoted` delimiter keeps its variables."""

    text: str
    line: int
    quoted: bool


class Instruction(NamedTuple):
    """One instruction with its line, its name in capitals, the text after it, and its here-documents."""

    line: int
    name: str
    rest: str
    documents: tuple[HereDocument, ...] = ()


class Instructions(NamedTuple):
    """The instructions of a file, and the reason and line if its end is not understood."""

    found: list[Instruction]
    problem: str = ""
    line: int = 1


def read(text: str) -> Instructions:
    """All instructions up to the first that cannot be understood."""
    found: list[Instruction] = []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        started = number
        first = lines[number].strip()
        number += 1
        if not first or first.startswith("#"):
            continue
        joined, number = _joined(first, lines, number)
        name, _, rest = re.sub(r"^(\S+)\s+", r"\1 ", joined).partition(" ")
        name = name.upper()
        documents: list[HereDocument] = []
        for heredoc in _HEREDOC.finditer(rest) if name in _WITH_HEREDOC else ():
            after = _after(heredoc, lines, number)
            if after is None:
                return Instructions(found, f"the here-document {heredoc[3]!r} does not end", started + 1)
            body = [line.lstrip("\t") if heredoc[1] else line for line in lines[number : after - 1]]
            documents.append(HereDocument("\n".join(body), number + 1, bool(heredoc[2])))
            number = after
        found.append(Instruction(started + 1, name, rest.strip(), tuple(documents)))
    return Instructions(found)


def _joined(first: str, lines: list[str], number: int) -> tuple[str, int]:
    """A line with the ones that continue it, and the number of the next."""
    parts = [first]
    while parts[-1].endswith("\\") and number < len(lines):
        following = lines[number].strip()
        number += 1
        if not following.startswith("#"):
            parts[-1] = parts[-1][:-1]
            parts.append(following)
    return " ".join(parts), number


def _after(heredoc: re.Match[str], lines: list[str], number: int) -> int | None:
    """The number of the line after a here-document that begins at `number`; None if it does not end."""
    for place in range(number, len(lines)):
        line = lines[place].rstrip("\r")
        if (line.lstrip("\t") if heredoc[1] else line) == heredoc[3]:
            return place + 1
    return None
