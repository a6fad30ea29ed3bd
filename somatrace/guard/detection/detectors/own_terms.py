"""Custom detectors: a dictionary of terms, or a pattern that provably takes linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from somatrace.guard.detection.engine import Category, Detector, ValueSpan

MAX_TERMS: Final = 10_000
MAX_TERM: Final = 200
MAX_WORDS: Final = 24
MAX_PATTERN: Final = 500
MAX_WIDTH: Final = 512
#: Maximum number of ways a pattern may match at one position: the worst case of a backtracking engine.
MAX_WAYS: Final = 256
#: The start of a match is searched for in this many characters at a time.
_PIECE: Final = 2048
#: The times that a search reads each character, for the limit of its work.
_REACH: Final = 4

#: A word; a character of a script written without spaces; a punctuation mark.
_TOKEN: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[^\w\s]"
)
_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,39}")


def dictionary(terms: Iterable[str], *, type_: str = "TERM", category: Category = "customer") -> Detector:
    """A detector for exact terms as whole words, ignoring case and the spacing between words.

    Words are looked up in a tree, so ten thousand terms cost as much as one. Raises ValueError for a
    term that is empty, longer than 200 characters or 24 words, and for more than 10,000 of them.
    """
    _check_type(type_)
    tree = _tree(terms)

    def search(text: str) -> list[ValueSpan]:
        tokens = list(_TOKEN.finditer(text))
        words = [token[0].casefold() for token in tokens]
        found = []
        for index in range(len(words)):
            last = _longest(tree, words, index)
            if last is not None:
                found.append(ValueSpan(tokens[index].start(), tokens[last].end(), type_))
        return found

    return Detector((type_,), category, "custom terms", "raw", (), _nowhere, search, reach=_REACH)


def _tree(terms: Iterable[str]) -> dict[str, Any]:
    """Terms by their first word, then their second, ...; an empty word marks the end of a term."""
    tree: dict[str, Any] = {}
    for count, term in enumerate(terms, 1):
        words = _TOKEN.findall(term)
        if not words or len(term) > MAX_TERM or len(words) > MAX_WORDS:
            raise ValueError(f"term {term[:40]!r}: use 1 to {MAX_TERM} characters, at most {MAX_WORDS} words")
        if count > MAX_TERMS:
            raise ValueError(f"more than {MAX_TERMS} terms")
        node = tree
        for word in words:
            node = node.setdefault(word.casefold(), {})
        node[""] = True
    return tree


def _longest(tree: dict[str, Any], words: Sequence[str], index: int) -> int | None:
    """The last word of the longest term starting at a word."""
    node, last = tree.get(words[index]), None
    while node is not None:
        if "" in node:
            last = index
        index += 1
        node = node.get(words[index]) if index < len(words) else None
    return last


def pattern(type_: str, expression: str, *, category: Category = "customer") -> Detector:
    """A detector for a regular expression. Raises ValueError unless it provably takes linear time.

    Backreferences, lookaround, conditions, repetition without an upper bound, and patterns that can match at
    one position in more than 256 ways or across more than 512 characters are rejected.
    """
    _check_type(type_)
    check_linear(expression)
    regex = re.compile(expression)

    def search(text: str) -> list[ValueSpan]:
        return [ValueSpan(*span, type_) for span in _in_pieces(regex, text)]

    return Detector((type_,), category, "a custom pattern", "raw", (), _nowhere, search, reach=_REACH)


def _in_pieces(regex: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """The matches of a pattern, searched for piece by piece: one call holds the interpreter until it ends."""
    at = 0
    for start in range(0, len(text), _PIECE):
        stop = start + _PIECE
        # two characters more than the longest match, so that no match ends where the piece does
        for match in regex.finditer(text, max(at, start), min(len(text), stop + MAX_WIDTH + 2)):
            if match.start() >= stop:
                break
            if match.end() > match.start():
                at = match.end()
                yield match.span()


def check_linear(expression: str) -> None:
    """Raise ValueError with a suggestion unless `expression` takes linear time in every text."""
    if len(expression) > MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN} characters")
    from re import _parser  # type: ignore[attr-defined]  # the parser that `re` itself uses

    try:
        parsed = _parser.parse(expression)
        re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a pattern: {str(error)[:100]}") from None
    low, high = parsed.getwidth()
    if high > MAX_WIDTH:
        raise ValueError(
            f"the pattern can match more than {MAX_WIDTH} characters: bound repetition, as in {{1,40}}"
        )
    if low < 1:
        raise ValueError("the pattern matches nothing at all: it would match everywhere")
    if _ways(parsed) > MAX_WAYS:
        raise ValueError(
            f"the pattern can match one place in more than {MAX_WAYS} ways, which can take long: "
            "repeat fewer things a variable number of times"
        )


def _ways(parsed: Any) -> int:
    """The maximum number of ways a parsed pattern can match at one position, capped just above MAX_WAYS."""
    ways = 1
    for operation, argument in parsed:
        ways = min(ways * _ways_of(str(operation), argument), MAX_WAYS + 1)
    return ways


def _ways_of(operation: str, argument: Any) -> int:
    match operation:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT" | "RANGE" | "CATEGORY":
            return 1
        case "SUBPATTERN":
            return _ways(argument[-1])
        case "ATOMIC_GROUP":
            return _ways(argument)
        case "BRANCH":
            return min(sum(_ways(branch) for branch in argument[1]), MAX_WAYS + 1)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, body = argument
            once = _ways(body)
            total = 0
            for times in range(int(least), int(most) + 1):
                total += once ** min(times, 64)
                if total > MAX_WAYS:
                    return MAX_WAYS + 1
            return max(total, 1)
        case _:
            raise ValueError(
                f"the pattern uses {operation.lower().replace('_', ' ')}: backreferences, lookaround and "
                "conditions can take long and are refused"
            )


def _check_type(type_: str) -> None:
    if not _TYPE.fullmatch(type_):
        raise ValueError(f"type {type_[:40]!r}: use 2 to 40 of A-Z, 0-9 and _, as in PROJECT_NAME")


def _nowhere(_text: str, _at: int) -> None:
    """Placeholder: these detectors have no anchors and scan the text once."""
