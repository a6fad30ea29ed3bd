"""The branch of a shell's `if` that is taken, where its conditions depend on the arguments alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import NamedTuple

from somatrace.check.launch.shell_blocks import Chosen, is_command, is_settled
from somatrace.check.launch.words import ShellToken, unquoted

_OPENING = {"if": "fi", "case": "esac", "while": "done", "until": "done", "for": "done", "select": "done"}
_CLOSING = frozenset(_OPENING.values())
_BRANCHES = frozenset(["then", "elif", "else"])
_NUMBERS = {
    "-eq": int.__eq__, "-ne": int.__ne__, "-gt": int.__gt__, "-ge": int.__ge__, "-lt": int.__lt__,
    "-le": int.__le__,
}  # fmt: skip


class _Branch(NamedTuple):
    """A keyword and what follows it: a condition after `if` and `elif`, commands after `then` and `else`."""

    keyword: str
    tokens: list[ShellToken]


def chosen(
    given: Sequence[ShellToken],
    at: int,
    known: Mapping[str, str],
    settled: AbstractSet[str],
    positional: tuple[str, ...],
) -> Chosen | None:
    """The commands of the `if` that begins here; None if it depends on more than the arguments."""
    branches, end = _branches(given, at)
    for number, branch in enumerate(branches):
        if branch.keyword == "else":
            return Chosen(branch.tokens, end)
        if branch.keyword == "then":
            continue
        holds = _holds([*branch.tokens], known, settled, positional)
        if holds is None or number + 1 >= len(branches):
            return None
        if holds:
            return Chosen(branches[number + 1].tokens, end)
    return Chosen([], end) if branches else None


def _branches(given: Sequence[ShellToken], at: int) -> tuple[list[_Branch], int]:
    """The parts of an `if`, and where the text goes on; none if it does not end."""
    found = [_Branch("if", [])]
    depth = 0
    for place in range(at + 1, len(given)):
        token = given[place]
        word = token.text if token.kind == "word" and is_command(given, place) else ""
        if word in _OPENING:
            depth += 1
        elif word == "fi" and not depth:
            return found, place + 1
        elif word in _CLOSING:
            depth -= 1
        if word in _BRANCHES and not depth:
            found.append(_Branch(word, []))
        else:
            found[-1].tokens.append(token)
    return [], at


def _holds(
    tokens: list[ShellToken], known: Mapping[str, str], settled: AbstractSet[str], positional: tuple[str, ...]
) -> bool | None:
    """Whether a condition holds: one test, or several with `&&` and `||`."""
    words: list[str] = []
    found: bool | None = None
    operator = ""
    for token in [*tokens, ShellToken("operator", ";", 0)]:
        if token.kind == "word":
            words.append(token.text)
            continue
        if not words:
            continue
        one = _tested(words, known, settled, positional)
        if one is None:
            return None
        found = one if found is None else (found and one if operator == "&&" else found or one)
        words, operator = [], token.text
        if token.kind == "operator" and operator not in {"&&", "||", ";"}:
            return None
    return found


def _tested(
    words: list[str], known: Mapping[str, str], settled: AbstractSet[str], positional: tuple[str, ...]
) -> bool | None:
    """The result of `[ A = B ]`, `[[ A == B ]]`, `test A = B`, with `!` before or within."""
    if words[0] == "!":
        result = _tested(words[1:], known, settled, positional) if len(words) > 1 else None
        return None if result is None else not result
    if words[0] == "test":
        inner = words[1:]
    elif words[0] in {"[", "[["} and words[-1] in {"]", "]]"}:
        inner = words[1:-1]
    else:
        return None
    if inner[:1] == ["!"]:
        result = _tested(["test", *inner[1:]], known, settled, positional)
        return None if result is None else not result
    if len(inner) == 2 and inner[0] in {"-z", "-n"}:
        value = _value(inner[1], known, settled, positional)
        return None if value is None else (value == "") == (inner[0] == "-z")
    if len(inner) != 3:
        return None
    left, right = (_value(word, known, settled, positional) for word in (inner[0], inner[2]))
    if left is None or right is None:
        return None
    if inner[1] in _NUMBERS and left.isdecimal() and right.isdecimal():
        return bool(_NUMBERS[inner[1]](int(left), int(right)))
    if inner[1] not in {"=", "==", "!="}:
        return None
    same = fnmatchcase(left, right) if words[0] == "[[" else left == right
    return same == (inner[1] != "!=")


def _value(
    word: str, known: Mapping[str, str], settled: AbstractSet[str], positional: tuple[str, ...]
) -> str | None:
    """The value of a word; None if it depends on more than the arguments."""
    if word.strip('"') == "$#":
        return str(len(positional)) if positional else None
    if "$" not in word and "`" not in word:
        return unquoted(word, {})
    if not is_settled(word, settled):
        return None
    value = unquoted(word, known)
    return "" if value.startswith("$") else value
