"""Find where values end: quotes at any escape level, brackets, the ends of sentences."""

from __future__ import annotations

from typing import Final

from somatrace.guard.detection.engine import GOES_ON, compiled

MAX_VALUE: Final = 2048
QUOTE: Final = r"\\{0,15}[\"'`]"
#: Whitespace between the parts of a document, also in its escaped form within a string.
SPACE: Final = r"(?:\s|\\{1,15}[nrt])"
_STRUCTURE: Final = r"\"[ \t]{0,8}[,:\]}]"


def quoted_end(text: str, start: int, quote: str) -> int | None:
    """The end of a quoted value; None without a closing quote within bounds.

    In JSON nested k deep a structural quote has 2^k - 1 backslashes of its own before it, after an even
    number (of that level) that belong to the text. So the trailing ones of the binary count of backslashes
    are the level of a quote; a deeper one than the opening quote's is part of the value.
    """
    level, mark = _level(len(quote) - 1), quote[-1]
    at = text.find(mark, start, start + MAX_VALUE)
    while at >= 0:
        run = at
        while run > start and text[run - 1] == "\\":
            run -= 1
        closing = _level(at - run)
        # In a literal of Python within single quotes, backslashes are doubled but the quotes of JSON are not.
        goes_on = at - run >= 1 << closing and compiled(r"\w").match(text, at + 1) is not None
        if closing <= level and not goes_on:
            end = at - (1 << closing) + 1
            # Quotes of another kind do not enclose JSON structure, so they opened nothing.
            return None if mark != '"' and compiled(_STRUCTURE).search(text, start, end) else end
        at = text.find(mark, at + 1, start + MAX_VALUE)
    return None


def tripled(text: str, start: int, quote: str) -> tuple[int, int] | None:
    """The text in triple quotes, of which the first was before `start`; None if there are none.

    A quote that closes such a text opens none: the number of triple quotes before it is odd.
    """
    mark = quote * 3
    opening = start - len(quote)
    if not text.startswith(mark, opening) or text.count(mark, max(0, opening - MAX_VALUE), opening) % 2:
        return None
    begin = opening + len(mark)
    end = text.find(mark, begin, begin + MAX_VALUE)
    if end < 0:
        cut = len(quote) == 1 and len(text) - begin <= MAX_VALUE and not text.endswith(GOES_ON)
        end = len(text) if cut else begin
    inner = compiled(rf"{SPACE}*+").match(text, begin, end)
    begin = begin if inner is None else inner.end()
    while end > begin and (space := compiled(rf"{SPACE}$").search(text[max(begin, end - 8) : end])):
        end -= len(space[0])
    return begin, end


def unclosed(text: str, start: int, quote: str) -> int | None:
    """The end of a text truncated within a quoted value; None if the text continues after it."""
    if len(text) - start > MAX_VALUE or text.endswith(GOES_ON) or "\n" in text[start:]:
        return None
    # Quotes of another kind may be in a JSON string that ends before the text does.
    return None if quote[-1] != '"' and '"' in text[start:] else len(text)


def opens(text: str, begin: int, closed: str | None, quote: str) -> bool:
    """Whether a quote opens a value rather than ending a JSON string that ends with a name."""
    if closed is None:
        return compiled(r"\s{0,8}[,:\]}]").match(text, begin) is None
    return closed[-1] != quote[-1] or len(closed) == len(quote)


def _level(backslashes: int) -> int:
    return (~backslashes & (backslashes + 1)).bit_length() - 1


def trimmed(text: str, start: int, end: int) -> int:
    """The end without the punctuation or bracket that closes the surrounding text."""
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
