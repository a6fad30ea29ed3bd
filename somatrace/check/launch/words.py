"""The words of shell text: tokens, variables with defaults, quotation marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

#: Inside `$( )`: quoted text, nested parentheses (`awk '{if(x) y}'`), anything else.
_QUOTED = r"""'[^']*'|(?:"(?:[^"\\]|\\.)*")"""
_INNER = rf"""{_QUOTED}|\((?:{_QUOTED}|[^()"'])*\)|[^()"']"""
_TOKEN = re.compile(
    r"""(?:[ \t\r]|\\\n)*(?:
        (?P<comment>(?<![^\s;&|()])\#[^\n]*) | (?P<newline>\n)
        | (?P<arithmetic>\(\((?=[^()\n]*<<)[^()\n]*\)\))
        | (?P<operator>&&|\|\||;;|>>|<<<|<<-?|[;&|()<>])
        | (?P<word>(?:\\[^\n]|\$'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|'[^']*'|\$\{[^}]{0,300}\}|\$\((?:"""
    + _INNER
    + r"""){0,10000}\)|[^\s;&|()<>"'\\])+)
    )""",
    re.DOTALL | re.VERBOSE,
)
VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:?[-=])([^}]{0,300}))?\}|(\w+))")
_PIECE = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\\"']+)""", re.DOTALL)
SHELLS = frozenset(["sh", "bash", "dash", "ash", "zsh", "ksh"])
#: What may follow the last command of a text.
_BLANK = " \t\r\n\\"
_MOST_TOKENS = 5_000
#: Variables that hold each other double in length with every line.
_LONGEST = 10_000


def expand(word: str, variables: Mapping[str, str]) -> str:
    """Replace variables whose value or default is known; leave others unchanged, with their `$`."""
    left = _LONGEST

    def replaced(match: re.Match[str]) -> str:
        nonlocal left
        name = match[1] or match[4]
        if name in variables:
            left -= len(variables[name])
            return variables[name] if left > 0 else match[0]
        return expand(match[3], variables) if match[2] else match[0]

    return VARIABLE.sub(replaced, word)


def unquoted(word: str, variables: Mapping[str, str]) -> str:
    """One word as the shell passes it to a program. A very long one is left as it is."""
    parts = []
    for escaped, double, single, plain in _PIECE.findall(word):
        if single:
            parts.append(single)
        elif escaped:
            parts.append("" if escaped == "\n" else escaped)
        elif double:
            parts.append(expand(re.sub(r'\\(["\\$`])', r"\1", double), variables))
        else:
            parts.append(expand(plain, variables))
    found = "".join(parts)
    return found if len(found) <= _LONGEST else word


class UnsplittableError(Exception):
    """A shell text that the parser does not understand, with the line where it stops."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


class ShellToken(NamedTuple):
    """A word, an operator, a comment, a line break, an arithmetic command, or the body of a here-document."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> Iterator[ShellToken]:
    """The tokens of a script. Raises `UnsplittableError` if a part of it cannot be understood."""
    at, line = 0, 1
    #: the operators of here-documents whose delimiter follows, and the documents whose body follows
    operator, announced = "", list[tuple[str, str]]()
    for _ in range(_MOST_TOKENS):
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match is not None else None
        if match is None or kind is None:
            if text[at:].strip(_BLANK):
                raise UnsplittableError("a quotation mark or a bracket has no counterpart", line)
            break
        line += text.count("\n", at, match.start(kind))
        yield ShellToken(kind, match[kind], line)
        line += match[kind].count("\n")
        at = match.end()
        if kind == "word" and operator:
            announced.append((unquoted(match[kind], {}), operator))
        operator = match[kind] if kind == "operator" and match[kind] in {"<<", "<<-"} else ""
        for delimiter, begins in announced if kind == "newline" else ():
            body, at = _document(text, at, delimiter, line, strips_tabs=begins == "<<-")
            yield ShellToken("document", body, line)
            line += body.count("\n") + 1
        if kind == "newline":
            announced = []
    else:
        raise UnsplittableError(f"it has more than {_MOST_TOKENS:,} words", line)
    if announced or operator:
        name = repr(announced[0][0]) if announced else "without a name"
        raise UnsplittableError(f"the here-document {name} does not end", line)


def _document(text: str, at: int, delimiter: str, line: int, *, strips_tabs: bool) -> tuple[str, int]:
    """The body of a here-document, and where the text goes on."""
    end = at
    while end < len(text):
        stop = text.find("\n", end)
        stop = len(text) if stop < 0 else stop
        given = text[end:stop].rstrip("\r")
        if (given.lstrip("\t") if strips_tabs else given) == delimiter:
            return text[at:end], min(stop + 1, len(text))
        end = stop + 1
    raise UnsplittableError(f"the here-document {delimiter!r} does not end", line)
