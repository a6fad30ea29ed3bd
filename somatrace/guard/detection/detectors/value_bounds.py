"""Where values begin and end: quotes, escaped any number of times, brackets, the ends of sentences."""

from __future__ import annotations

from typing import Final

from somatrace.guard.detection.engine import GOES_ON, compiled

MAX_VALUE: Final = 2048
QUOTE: Final = r"\\{0,15}[\"'`]"
#: Space between the parts of a document, also as it is written in a string.
SPACE: Final = r"(?:\s|\\{1,15}[nrt])"
_STRUCTURE: Final = r"\"[ \t]{0,8}[,:\]}]"


def quoted_end(text: str, start: int, quote: str) -> int | None:
    """Where a value in quotes ends, None without a closing quote within bounds.

    In JSON nested k deep a structural quote has 2^k - 1 backslashes of its own before it, after an even
    number (of that level) that belong to the text. So the ones at the end of the binary count of backslashes
    are the level of a quote; a deeper one than the opening quote's is part of the value.
    """
    level, mark = _level(len(quote) - 1), quote[-1]
    at = text.find(mark, start, start + MAX_VALUE)
    while at >= 0:
        run = at
        while run > start and text[run - 1] == "\\":
            run -= 1
        closing = _level(at - run)
        if closing <= level:
            end = at - (1 << closing) + 1
            # Quotes of another kind do not hold structure of JSON: they opened nothing.
            return None if mark != '"' and compiled(_STRUCTURE).search(text, start, end) else end
        at = text.find(mark, at + 1, start + MAX_VALUE)
    return None


def unclosed(text: str, start: int, quote: str) -> int | None:
    """The end of a text that was cut within a value in quotes, None where the text goes on after it."""
    if len(text) - start > MAX_VALUE or text.endswith(GOES_ON) or "\n" in text[start:]:
        return None
    # Quotes of another kind may stand in a string of JSON, which ends before the text does.
    return None if quote[-1] != '"' and '"' in text[start:] else len(text)


def opens(text: str, begin: int, closed: str | None, quote: str) -> bool:
    """Whether a quote opens a value, and does not end the string in JSON that a name stands at the end of."""
    if closed is None:
        return compiled(r"\s{0,8}[,:\]}]").match(text, begin) is None
    return closed[-1] != quote[-1] or len(closed) == len(quote)


def _level(backslashes: int) -> int:
    return (~backslashes & (backslashes + 1)).bit_length() - 1


def trimmed(text: str, start: int, end: int) -> int:
    """The end without what closes the sentence or the bracket around the value."""
    value = text[start:end]
    open_in_value = {closer: opener in value for opener, closer in ("()", "[]", "{}")}
    while end > start:
        last = text[end - 1]
        if last in ".,;:!?" and end == start + 1:
            return start
        if last in ".,;:? \t" or not open_in_value.get(last, True):
            end -= 1
        else:
            break
    return end
