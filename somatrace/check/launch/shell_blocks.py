"""Parts of a shell script that are more than one command: functions, arrays, and `case` on known words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from somatrace.check.launch.words import ShellToken, unquoted

ASSIGNMENT: Final = re.compile(r"^[A-Za-z_]\w*=")
#: All arguments, perhaps with a default for when there are none: `"$@"`, `"${@:-serve}"`.
ARGUMENTS: Final = re.compile(r"\"?\$(?:[@*]|\{[@*](?::?-([^}]{0,300}))?\})\"?")
#: All elements of an array: `"${OPTIONS[@]}"`.
ELEMENTS: Final = re.compile(r"\"?\$\{(\w+)\[[@*]\]\}\"?")
_NAME = re.compile(r"[A-Za-z_][\w.:-]*")
_ARRAY = re.compile(r"([A-Za-z_]\w*)(\+?)=")
_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-[^}$]{0,300})?\})")
_BLOCKS = {"{": "", "case": "", "}": "{", "esac": "case"}
_BEFORE_COMMAND = frozenset(["then", "else", "do", "{", "(", "&&", "||", ";", "&", "|", "\n", ";;", ")", "!"])


class ShellFunction(NamedTuple):
    """A function: its name, its commands, and where the text goes on."""

    name: str
    body: list[ShellToken]
    end: int


class Array(NamedTuple):
    """An assignment of a list of words."""

    name: str
    appends: bool
    words: list[str]
    end: int


class Chosen(NamedTuple):
    """The commands of the branch that a `case` chooses."""

    body: list[ShellToken]
    end: int


def ends(given: Sequence[ShellToken]) -> dict[int, int]:
    """The place where each block ends: of `{` and `case` by their own place, of the last list by -1."""
    found: dict[int, int] = {-1: -1}
    opened: list[int] = []
    for place, token in enumerate(given):
        if token.kind == "operator" and token.text == ")":
            found[-1] = place
        if token.kind != "word" or token.text not in _BLOCKS:
            continue
        if token.text in {"{", "case"}:
            named = place > 1 and given[place - 2].text == "function"
            opened += [place] if named or is_command(given, place) else []
        elif is_command(given, place) and opened and given[opened[-1]].text == _BLOCKS[token.text]:
            found[opened.pop()] = place
    return found


def function(given: Sequence[ShellToken], at: int, ended: Mapping[int, int]) -> ShellFunction | None:
    """The function that begins here: `name() { … }`, `function name { … }`."""
    keyword = given[at].text == "function"
    named = at + keyword
    if named >= len(given) or given[named].kind != "word" or not _NAME.fullmatch(given[named].text):
        return None
    start = named + 1
    has_brackets = [token.text for token in given[start : start + 2]] == ["(", ")"]
    if not keyword and not has_brackets:
        return None
    start += 2 * has_brackets
    while start < len(given) and given[start].kind in {"newline", "comment"}:
        start += 1
    end = ended.get(start, 0) if start < len(given) and given[start].text == "{" else 0
    return ShellFunction(given[named].text, list(given[start + 1 : end]), end + 1) if end else None


def is_command(given: Sequence[ShellToken], place: int) -> bool:
    """Whether a word is where a command may begin."""
    before = given[place - 1] if place else None
    return (
        before is None or before.kind in {"newline", "comment", "document"} or before.text in _BEFORE_COMMAND
    )


def array(given: Sequence[ShellToken], at: int, ended: Mapping[int, int]) -> Array | None:
    """The list that is assigned here: `NAME=(a b)`, `NAME+=("$X")`."""
    if given[at].kind != "word" or at >= ended[-1] or given[at + 1].text != "(":
        return None
    match = _ARRAY.fullmatch(given[at].text)
    if match is None:
        return None
    words: list[str] = []
    for place in range(at + 2, len(given)):
        if given[place].text == ")" and given[place].kind == "operator":
            return Array(match[1], bool(match[2]), words, place + 1)
        if given[place].kind == "word":
            words.append(given[place].text)
    return None


def is_settled(token: str, settled: AbstractSet[str]) -> bool:
    """Whether the variables in a word, of which there is one, all come from the arguments."""
    names = [next(filter(None, groups)) for groups in _REFERENCE.findall(token)]
    return bool(names) and token.count("$") == len(names) and all(name in settled for name in names)


def chosen(
    given: Sequence[ShellToken],
    at: int,
    ended: Mapping[int, int],
    known: Mapping[str, str],
    settled: AbstractSet[str],
) -> Chosen | None:
    """The branch of the `case` that begins here; None if it depends on more than the arguments."""
    if at + 2 >= len(given) or given[at + 2].text != "in" or not is_settled(given[at + 1].text, settled):
        return None
    end = ended.get(at)
    if end is None:
        return None
    value = unquoted(given[at + 1].text, known)
    value = "" if value.startswith("$") else value
    for patterns, body in _branches(given[at + 3 : end]):
        if any("$" in pattern for pattern in patterns):
            return None
        if any(fnmatchcase(value, pattern) for pattern in patterns):
            return Chosen(body, end + 1)
    return Chosen([], end + 1)


def _branches(given: Sequence[ShellToken]) -> list[tuple[list[str], list[ShellToken]]]:
    """The patterns and the commands of each branch."""
    found: list[tuple[list[str], list[ShellToken]]] = []
    patterns: list[str] = []
    body: list[ShellToken] | None = None
    depth = 0
    for place, token in enumerate(given):
        if body is None:
            if token.text == ")" and token.kind == "operator":
                body = []
            elif token.kind == "word":
                patterns.append(unquoted(token.text, {}))
            continue
        if token.kind == "word" and token.text in {"case", "esac"} and is_command(given, place):
            depth += 1 if token.text == "case" else -1
        if token.text == ";;" and not depth:
            found.append((patterns, body))
            patterns, body = [], None
        else:
            body.append(token)
    if body is not None:
        found.append((patterns, body))
    return found


def ends_script(body: Sequence[ShellToken]) -> bool:
    """Whether the last command of some is `exec PROGRAM` or `exit`, whatever happened before."""
    commands: list[tuple[str, list[str]]] = [("", [])]
    for token in body:
        if token.kind == "word":
            commands[-1][1].append(token.text)
        elif commands[-1][1] and token.kind in {"newline", "operator"} and token.text not in "<>":
            commands.append((token.text, []))
    before, words = next((one for one in reversed(commands) if one[1]), ("", []))
    if before not in {"", "\n", ";"}:
        return False
    return words[:1] == ["exit"] or (words[:1] == ["exec"] and len(words) > 1)
