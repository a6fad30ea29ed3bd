"""Parser for the shell syntax used by launchers: words, variables with defaults, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Inside `$( )`: quoted text, nested parentheses (`awk '{if(x) y}'`), anything else.
_QUOTED = r"""'[^']*'|(?:"(?:[^"\\]|\\.)*")"""
_INNER = rf"""{_QUOTED}|\((?:{_QUOTED}|[^()"'])*\)|[^()"']"""
_TOKEN = re.compile(
    r"""(?:[ \t\r]|\\\n)*(?:
        (?P<comment>(?<![^\s;&|()])\#[^\n]*) | (?P<newline>\n) | (?P<operator>&&|\|\||;;|>>|<<-?|[;&|()<>])
        | (?P<word>(?:\\[^\n]|"(?:[^"\\]|\\.)*"|'[^']*'|\$\{[^}]{0,300}\}|\$\((?:"""
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
_BLOCK_ENDS = frozenset(["fi", "else", "elif", "done", ";;", "esac", "}", ")"])
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_MOST_TOKENS = 5_000
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


def split(
    text: str, variables: Mapping[str, str] | None = None, positional: tuple[str, ...] = ()
) -> list[ShellStep]:
    """The commands of a script or command line, with `"$@"` replaced by `positional`."""
    splitter = _Splitter(dict(variables or {}), positional)
    for kind, token, line in _tokens(text.rstrip()):
        splitter.take(kind, token, line)
    splitter.close("\n")
    _mark_last(splitter.steps, found_after=False)
    return splitter.steps


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at, line = 0, 1
    for _ in range(_MOST_TOKENS):
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match is not None else None
        if match is None or kind is None:
            return
        line += text.count("\n", at, match.start(kind))
        yield kind, match[kind], line
        line += match[kind].count("\n")
        at = match.end()


@dataclass(slots=True)
class _Splitter:
    known: dict[str, str]
    positional: tuple[str, ...]
    steps: list[ShellStep] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    line: int = 1
    redirected: bool = False

    def take(self, kind: str, token: str, line: int) -> None:
        if kind == "word":
            self._word(token, line)
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
