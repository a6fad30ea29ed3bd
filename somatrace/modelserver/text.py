"""Split text into tokens to count, words to compare and sentences to quote."""

from __future__ import annotations

import re
from typing import Final

#: A token includes the white space before it, so that joining the tokens restores the text.
_TOKEN: Final = re.compile(r"\s*(?:[^\W\d_]{1,8}|\d{1,3}|_|[^\w\s])|\s+")
_WORD: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_STOP_WORDS: Final = frozenset(
    _WORD.findall(
        "a an and are as at be by can could did do does for from had has have how i if in is it its me my no "
        "not of on or our please should so tell that the their them then there they this to us was we were "
        "what when where which who why will with would you your"
    )
)
#: Ending, its replacement, and the minimum length of a word to strip it from.
_ENDINGS: Final = (("ies", "y", 5), ("ing", "", 6), ("ed", "", 5), ("ss", "ss", 0), ("s", "", 4))


def tokens(text: str) -> list[str]:
    """The tokens of `text`: up to 8 letters, up to 3 digits, or one other character each.

    This count is the server's own and matches no other tokenizer.
    """
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """The number of tokens in `text`."""
    return len(tokens(text))


def words(text: str) -> list[str]:
    """The content words of `text`, in lower case and without common English endings."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]


def sentences(text: str) -> list[str]:
    """The non-empty sentences of `text`, stripped. A line break also ends a sentence."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def _stem(word: str) -> str:
    for ending, replacement, letters in _ENDINGS:
        if len(word) >= letters and word.endswith(ending):
            return word.removesuffix(ending) + replacement
    return word
