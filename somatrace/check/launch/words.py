"""Parser for the shell syntax used by launchers: words, variables with defaults, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import basename

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
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:?[-=])([^}]{0,300}))?\}|(\w+))")
_PIECE = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\\"']+)""", re.DOTALL)
_KEYWORDS = frozenset(
    [
        "if",
        "then",
        "else",
        "elif",
        "fi",
        "do",
        "done",
        "while",
        "until",
        "for",
        "case",
        "esac",
        "in",
        "{",
        "}",
        "!",
        "function",
        "select",
        "time",
    ]
)
SHELLS = frozenset(["sh", "bash", "dash", "ash", "zsh", "ksh"])
_BEFORE_SHELL = frozenset(["exec", "sudo"])
#: What may follow the last command of a text.
_BLANK = " \t\r\n\\"
_BLOCK_ENDS = frozenset(["fi", "else", "elif", "done", ";;", "esac", "}", ")"])
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_MOST_TOKENS = 5_000
_MOST_DEPTH = 8
#: Variables that hold each other double in length with every line.
_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class ShellStep:
    """One simple command. `last` if it ends its block; `behind` if it runs in the background."""

    words: tuple[str, ...]
    line: int
    last: bool
    behind: bool = False


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

    return _VARIABLE.sub(replaced, word)


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


def split(
    text: str,
    variables: Mapping[str, str] | None = None,
    positional: tuple[str, ...] = (),
    *,
    depth: int = 0,
) -> list[ShellStep]:
    """The commands of a script or command line, with `"$@"` replaced by `positional`.

    Raises `UnsplittableError` if a part of it cannot be understood.
    """
    splitter = _Splitter(dict(variables or {}), positional, depth)
    for kind, token, line in _tokens(text.rstrip()):
        splitter.take(kind, token, line)
    splitter.close("\n")
    _mark_last(splitter.steps, found_after=False)
    return splitter.steps


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
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
        yield kind, match[kind], line
        line += match[kind].count("\n")
        at = match.end()
        if kind == "word" and operator:
            announced.append((unquoted(match[kind], {}), operator))
        operator = match[kind] if kind == "operator" and match[kind] in {"<<", "<<-"} else ""
        for delimiter, begins in announced if kind == "newline" else ():
            body, at = _document(text, at, delimiter, line, strips_tabs=begins == "<<-")
            yield "document", body, line
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


@dataclass(slots=True)
class _Splitter:
    known: dict[str, str]
    positional: tuple[str, ...]
    #: of here-documents that shells read
    depth: int
    steps: list[ShellStep] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    line: int = 1
    redirected: bool = False

    def take(self, kind: str, token: str, line: int) -> None:
        if kind in {"word", "arithmetic"}:
            self._word(token, line)
        elif kind == "document":
            self._document(token, line)
        elif kind == "operator" and token[0] in "<>":
            self.redirected = True
            if self.words and self.words[-1].isdigit():
                self.words.pop()
        elif kind != "comment":
            self.close(token)

    def _word(self, token: str, line: int) -> None:
        if self.redirected:
            self.redirected = False
        elif token in {'"$@"', "$@", "$*", '"$*"'}:
            self.words.extend(self.positional)
        else:
            self.line = line if not self.words else self.line
            word = unquoted(token, self.known)
            # an unquoted variable on its own expands to as many words as its value has
            self.words += word.split() if _VARIABLE.fullmatch(token) else [word]

    def _document(self, body: str, line: int) -> None:
        """The body of a here-document is a script if a shell reads it, and text otherwise."""
        reader = [word for word in self.steps[-1].words if word not in _BEFORE_SHELL] if self.steps else []
        if reader and basename(reader[0]) in SHELLS and all(word.startswith("-") for word in reader[1:]):
            if self.depth >= _MOST_DEPTH:
                raise UnsplittableError("here-documents are nested too deeply", line)
            inner = split(body, self.known, self.positional, depth=self.depth + 1)
            self.steps += [
                ShellStep(step.words, step.line + line - 1, step.last, step.behind) for step in inner
            ]

    def close(self, end: str) -> None:
        """End the current command."""
        kept = _without_keywords(self.words)
        if kept:
            self.steps.append(ShellStep(tuple(kept), self.line, last=False, behind=end == "&"))
            _learn(kept, self.known)
        if any(word in _BLOCK_ENDS for word in self.words[:1]) or end in {";;", ")"}:
            _mark_last(self.steps, bool(kept) and end not in {";;", ")"})
        self.words = []


def _mark_last(steps: list[ShellStep], found_after: bool) -> None:
    index = len(steps) - (2 if found_after else 1)
    if index >= 0:
        step = steps[index]
        steps[index] = ShellStep(step.words, step.line, last=True, behind=step.behind)


def _without_keywords(words: list[str]) -> list[str]:
    start = 0
    while start < len(words) and words[start] in _KEYWORDS:
        if words[start] in {"for", "case", "select", "function"}:
            return []
        start += 1
    return words[start:]


def _learn(words: list[str], known: dict[str, str]) -> None:
    """Record assignments: `PORT=8000`, `export PORT=8000`, `: "${PORT:=8000}"`."""
    given = words[1:] if words[0] in {"export", "readonly", "local"} else words
    if all(_ASSIGNMENT.match(word) for word in given):
        for word in given:
            name, _, value = word.partition("=")
            if "$" not in value and "`" not in value:
                known[name] = value
