"""Find values separated from their name: in lists, elsewhere in an object, on following lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from somatrace.guard.detection.detectors.value_bounds import QUOTE, SPACE, quoted_end
from somatrace.guard.detection.engine import compiled

_MAX_ITEMS: Final = 256
_MAX_LINES: Final = 32
_MAX_KEY: Final = 32
#: Maximum characters from the start of a list, or from a name, to its values.
_NEAR: Final = 4096
_BESIDE: Final = 512

_NEXT: Final = rf"{QUOTE}{SPACE}{{0,40}}+,{SPACE}{{0,40}}+[bruf]{{0,2}}(?P<quote>{QUOTE})"
#: Keys under which an object has a name, and those under which it has the value of that name.
_NAME_KEY: Final = (
    r"(?:[A-Za-z]{0,16}[_-]?"
    r"(?i:name|key|field|id|label|header|variable|param|parameter|property|attribute|env)|[kK])"
)
VALUE_KEY: Final = r"(?:[A-Za-z]{0,16}[_-]?[vV]alue|VALUE|[vV]al|VAL)"
_COLON: Final = rf"{SPACE}{{0,8}}+:{SPACE}{{0,8}}+"
_NAMES: Final = rf"{QUOTE}(?P<key>{_NAME_KEY}){QUOTE}{_COLON}$"
#: The value may be in an object of its own that names its type: `{"stringValue": "x"}`.
TYPED: Final = rf"(?:\{{{SPACE}{{0,40}}+{QUOTE}[A-Za-z_]{{0,16}}[vV]alue{QUOTE}{_COLON})?"
_VALUE: Final = rf"{QUOTE}{VALUE_KEY}{QUOTE}{_COLON}{TYPED}(?P<quote>{QUOTE})"
_SHORT_VALUE: Final = rf"{QUOTE}[vV]{QUOTE}{_COLON}(?P<quote>{QUOTE})"
LINE_END: Final = r"(?:\r?\n|(?:\\{1,15}r)?\\{1,15}n)"
_BLOCK: Final = rf"[|>][+-]?\d?[ \t]{{0,8}}{LINE_END}(?P<indent>[ \t]{{1,40}})"
_BLOCK_LINE: Final = r"[^\r\n\"\\<>]{1,512}"
_BELOW: Final = (
    rf"[ \t]{{0,8}}{LINE_END}[ \t]{{1,40}}(?P<word>[^\s\"'`\\<>{{}}\[\]|&*!#-][^\s\"'`\\<>]{{3,255}})"
    rf"[ \t]{{0,8}}(?={LINE_END}|[\"']|$)"
)
#: The same without an indentation, as in a mail: a word of letters and digits, also after an empty line.
_NEXT_LINE: Final = (
    rf"[ \t]{{0,8}}(?:{LINE_END}[ \t]{{0,8}}){{1,2}}"
    rf"(?P<word>(?=[^\d\s]{{0,64}}\d)(?=[^A-Za-z\s]{{0,64}}[A-Za-z])"
    rf"[^\s\"'`\\<>{{}}\[\]|&*#:=,-][^\s\"'`\\<>:=,]{{5,127}})[ \t]{{0,8}}(?={LINE_END}|[\"']|$)"
)
#: A value with spaces in a connection string, without another assignment in it.
_SPACED: Final = r"[^\s;\"'`<>\\]{1,256}(?: {1,2}[^\s;=\"'`<>\\]{1,128}){1,8}"


def items(text: str, begin: int, quote: str) -> Iterator[tuple[int, int]]:
    """The strings of a list whose first one starts at `begin`, up to the first other item."""
    limit = begin + _NEAR
    for _ in range(_MAX_ITEMS):
        end = quoted_end(text, begin, quote)
        if end is None:
            return
        yield begin, end
        following = compiled(_NEXT).match(text, end, limit)
        if following is None:
            return
        begin, quote = following.end(), following["quote"]


def beside(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The value in an object that has the name (text[start:end]) as a value: `{"name": X, "value": Y}`."""
    opening = compiled(rf"{QUOTE}$").search(text[max(0, start - 16) : start])
    named = (
        None
        if opening is None
        else compiled(_NAMES).search(text[max(0, start - 64) : start - len(opening[0])])
    )
    if named is None:
        return None
    short = named["key"] in "kK"
    window = text[max(0, start - _BESIDE) : end + _BESIDE].lower()
    if ("v" if short else "val") not in window:
        return None
    pattern = compiled(_SHORT_VALUE if short else _VALUE)
    after = pattern.search(text, end, end + _BESIDE)
    if after is not None and not _braces(text, end, after.start()):
        close = quoted_end(text, after.end(), after["quote"])
        return None if close is None else (after.end(), close)
    for before in pattern.finditer(text, max(0, start - _BESIDE), start):
        close = quoted_end(text, before.end(), before["quote"])
        if close is not None and close <= start and not _braces(text, close, start):
            return before.end(), close
    return None


def names_its_entry(key: str) -> bool:
    """Whether an object has the name of its value under `key`."""
    return len(key) <= _MAX_KEY and compiled(_NAME_KEY).fullmatch(key) is not None


def values_its_entry(key: str) -> bool:
    """Whether an object has the value of its name under `key`."""
    return len(key) <= _MAX_KEY and compiled(rf"{VALUE_KEY}|[vV]").fullmatch(key) is not None


def _braces(text: str, start: int, end: int) -> bool:
    return "{" in text[start:end] or "}" in text[start:end]


def block(text: str, begin: int) -> tuple[int, int] | None:
    """A YAML block: the lines below `name: |`, indented at least as far as the first."""
    opened = compiled(_BLOCK).match(text, begin)
    if opened is None:
        return None
    line = compiled(_BLOCK_LINE).match(text, opened.end())
    if line is None:
        return None
    more = compiled(f"(?:{LINE_END}{opened['indent']}{_BLOCK_LINE}){{0,{_MAX_LINES}}}+").match(
        text, line.end()
    )
    return opened.end(), line.end() if more is None else more.end()


def below(text: str, begin: int) -> tuple[int, int] | None:
    """One word alone on the line after `name:`, indented further than the name or of letters and digits."""
    line = compiled(_BELOW).match(text, begin)
    if line is None:
        line = compiled(_NEXT_LINE).match(text, begin)
    if line is None or line["word"].endswith(":"):
        return None
    plain = compiled(r"[A-Z]?[a-z'-]+|[A-Z'-]+").fullmatch(line["word"].rstrip(".,;!?"))
    return line.span("word") if plain is None else None


def with_spaces(text: str, start: int, begin: int) -> int | None:
    """The end of a value with spaces in a connection string, `Server=x;Password=a b;`."""
    value = compiled(_SPACED).match(text, begin)
    if value is None:
        return None
    listed = text[max(0, start - 2) : start].rstrip(" ").endswith(";")
    if listed and text[value.end() : value.end() + 1] in (";", '"', "'", "\\"):
        return value.end()
    return value.end() if compiled(r"; ?[A-Za-z][\w ]{1,40}=").match(text, value.end()) else None
