"""Decoded views of a text, with escapes, entities, look-alike characters and base64 resolved.

Each view maps its characters to the original, so a hit in it is removed from the original. Only the
surroundings of encoded parts are decoded; text without escapes costs a few searches.
"""

from __future__ import annotations

import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from somatrace.guard.detection.engine import Views, compiled

#: Characters kept on both sides of an encoded part: a name, its separator and its value.
AROUND: Final = 160
#: How far a value or word may extend past the end of a view, and a word before its beginning.
FURTHER: Final = 1024
WORD: Final = 64
#: Characters that one call of a regular expression reads, and more than any match of `_triggers` has.
_PIECE: Final = 16 * 1024
_LONGEST: Final = 64
#: Nested escapes: %2540, \\u0025..., entities in JSON in a query.
LEVELS: Final = 3

_ESCAPE: Final = (
    r"\\{1,16}u(?:(?P<u>[0-9A-Fa-f]{4})|\{0{0,6}(?P<b>[0-9A-Fa-f]{1,6})\})|\\{1,16}U(?P<l>[0-9A-Fa-f]{8})"
    r"|\\{1,16}x(?P<x>[0-9A-Fa-f]{2})|\\{1,16}0000(?P<c>[2-7][0-9A-Fa-f])|\\{1,16}(?P<o>[0-3][0-7]{2})"
    r"|%(?P<p>[0-9A-Fa-f]{2})|%u(?P<w>[0-9A-Fa-f]{4})"
    r"|&#0{0,7}(?P<d>[0-9]{1,6});?|&#[xX]0{0,7}(?P<h>[0-9A-Fa-f]{1,5});?|&(?P<n>[A-Za-z]{2,24});"
)
#: A run of %XX is one piece of UTF-8, however long: splitting it could split a character.
_PERCENT_RUN: Final = r"(?:%[0-9A-Fa-f]{2}){2,}+"
#: Invisible, full-width and other compatibility characters, non-ASCII spaces and dashes, digits of other
#: scripts, combining marks.
_DISGUISED: Final = (
    "\u00a0\u00ad\u0300-\u036f\u061c\u0660-\u0669\u06f0-\u06f9\u07c0-\u07c9\u0966-\u096f\u09e6-\u09ef\u0a66-\u0a6f"
    "\u0ae6-\u0aef\u0b66-\u0b6f\u0be6-\u0bef\u0c66-\u0c6f\u0ce6-\u0cef\u0d66-\u0d6f\u0de6-\u0def\u0e50-\u0e59"
    "\u0ed0-\u0ed9\u0f20-\u0f29\u1040-\u1049\u1090-\u1099\u17e0-\u17e9\u1810-\u1819\u1946-\u194f\u19d0-\u19d9\u2460-\u24ff\u115f\u1160"
    "\u20d0-\u20f0\u17b4\u17b5\u180b-\u180e\u2000-\u200f\u2010-\u2015\u2024\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2212\u3000"
    "\u017f\ufb00-\ufb06\u2800\u3002\u3164\ufe00-\ufe0f\ufe52-\ufe6b\ufeff\uff01-\uff61\uffa0\U0001d400-\U0001d7ff\U000e0000-\U000e007f"
)
# ruff: noqa: RUF001 - the table of look-alike letters
_LOOKALIKES: Final = {
    **dict(zip("аеорсухіјѕԁкмтвнѵԛԝӏгпш", "aeopcyxijsdkmtbhvqwlrnw", strict=True)),
    **dict(zip("АВЕЅКМНОРСТУХІЈ", "ABESKMHOPCTYXIJ", strict=True)),
    **dict(zip("αορντικυ", "aopvtiku", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
}
_ALIKE: Final = f"[{''.join(_LOOKALIKES)}]"
_LATIN: Final = str.maketrans(_LOOKALIKES)
_SAME: Final = {"\u3002": ".", "\uff61": ".", "\u2044": "/", "\u2215": "/", "\u2212": "-"} | dict.fromkeys(
    "\u115f\u1160\u2800\u3164\uffa0", ""
)


class DecodedView(NamedTuple):
    """A decoded piece of text. `offsets[i]` is the start of character i in the original, plus a final end."""

    text: str
    offsets: list[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        return self.offsets[start], self.offsets[end]

    def ends(self, text: str) -> bool:
        """Whether the text ends with the view."""
        return self.offsets[-1] >= len(text)


def decoded_views(text: str) -> Iterator[DecodedView]:
    """Views of every encoded part of `text`; none for plain text."""
    for start, end in _surroundings(text):
        yield decoded(text, start, end)


def decoded(text: str, start: int, end: int) -> DecodedView:
    """A fully decoded view of text[start:end]."""
    view = DecodedView(text[start:end], list(range(start, end + 1)))
    for _ in range(LEVELS):
        plain = _folded(_unescaped(view))
        if plain.text == view.text:
            break
        view = plain
    return view


def _triggers(text: str) -> re.Pattern[str] | None:
    """The patterns to search for, if they can occur at all."""
    wanted = []
    if "%" in text or "&" in text or ("\\" in text and compiled(r"\\[uUx0-3]").search(text)):
        wanted.append(_ESCAPE_BARE)
    if not text.isascii():
        like = re.escape("".join(_LOOKALIKES))
        wanted.append(rf"[{_DISGUISED}]|(?![0-9])\d|[A-Za-z0-9](?=[{like}])|[{like}](?=[A-Za-z0-9])")
    return re.compile("|".join(wanted)) if wanted else None


_ESCAPE_BARE: Final = re.sub(r"\?P<\w>", "?:", _ESCAPE)


def _surroundings(text: str) -> Iterator[tuple[int, int]]:
    """Spans around encoded parts, merged where they touch and aligned to nearby word boundaries."""
    pattern = _triggers(text)
    if pattern is None:
        return
    start, end = 0, -1
    for match in _matches(pattern, text):
        low, high = max(0, match.start() - AROUND), min(len(text), match.end() + AROUND)
        if end < 0:
            start = low
        elif low > end + WORD:
            yield _whole_words(text, start, end)
            start = low
        end = high
    if end >= 0:
        yield _whole_words(text, start, end)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The matches of the pattern of `_triggers`, searched for piece by piece: other threads of the program
    wait while an expression runs, and a text in another script may have none."""
    at = 0
    while at < len(text):
        stop = at + _PIECE
        for match in pattern.finditer(text, at, stop + _LONGEST):
            if match.start() >= stop:
                break
            yield match
            at = match.end()
        at = max(at, stop)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """A span that starts and ends between words, if a word ends nearby."""
    before, after = text[max(0, start - WORD) : start], text[end : end + FURTHER]
    left = compiled(r"[\w[\]:.-]*").match(before[::-1])
    right = compiled(r"[\w[\]:.-]*").match(after)
    return start - (left.end() if left else 0), end + (right.end() if right else 0)


def _unescaped(view: DecodedView) -> DecodedView:
    """The view with one level of escapes undone."""
    text = view.text
    if "%" not in text and "\\" not in text and "&" not in text:
        return view
    pieces: list[str] = []
    offsets: list[int] = []
    done = 0
    for match in re.compile(f"{_PERCENT_RUN}|{_ESCAPE}").finditer(text):
        begin = match.start()
        characters = _percent(match[0]) if match.lastgroup is None else _character(match)
        if not characters:
            continue
        pieces.append(text[done:begin])
        offsets += view.offsets[done:begin]
        for character, at in characters:
            pieces.append(character)
            offsets.append(view.offsets[begin + at])
        done = match.end()
    if not done:
        return view
    pieces.append(text[done:])
    offsets += view.offsets[done:]
    return DecodedView("".join(pieces), offsets)


def _percent(run: str) -> list[tuple[str, int]]:
    """The characters of a run of %XX, and their start positions in it."""
    characters, at = [], 0
    for character in bytes.fromhex(run.replace("%", "")).decode("utf-8", "surrogateescape"):
        characters.append(("\ufffd" if "\ud800" <= character <= "\udfff" else character, at))
        at += 3 * len(character.encode("utf-8", "surrogateescape"))
    return characters


def _character(match: re.Match[str]) -> list[tuple[str, int]]:
    group = match.lastgroup or ""
    if group == "n":
        named = html.unescape(match[0])
        return [(named, 0)] if len(named) == 1 else []
    code = int(match[group], {"d": 10, "o": 8}.get(group, 16))
    return [(chr(code), 0)] if 9 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else []


def _folded(view: DecodedView) -> DecodedView:
    """The view with ASCII look-alikes replaced by ASCII characters, and invisible characters removed."""
    if view.text.isascii():
        return view
    pieces: list[str] = []
    offsets: list[int] = []
    for character, offset in zip(view.text, view.offsets, strict=False):
        plain = character if character < "\x80" else _plain(character)
        pieces.append(plain)
        offsets += [offset] * len(plain)
    offsets.append(view.offsets[-1])
    folded = "".join(pieces)
    alike = re.search(_ALIKE, folded)  # rare
    return DecodedView(re.sub(r"\w+", _latin, folded) if alike else folded, offsets)


def _latin(word: re.Match[str]) -> str:
    """A word in Latin letters if it contains any; words of another script stay unchanged."""
    written = word[0]
    if written.isascii() or re.search("[A-Za-z0-9]", written) is None:
        return written
    latin = written.translate(_LATIN)
    return latin if latin.isascii() else written


def _plain(character: str) -> str:
    if (known := _SAME.get(character)) is not None:
        return known
    category = unicodedata.category(character)
    if category in ("Cf", "Mn", "Me"):
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category in ("Zs", "Zl", "Zp"):
        return " "
    if category == "Pd":
        return "-"
    same = unicodedata.normalize("NFKC", character)
    if not same.isascii() or (len(same) > 1 and not same.isalpha()):
        return character
    return same  # more than one letter for a ligature


# -- base64 ----------------------------------------------------------------------------------------------

_NOT_TEXT: Final = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"
_PRINTABLE: Final = bytes(range(32, 127)) + b"\t\r\n"
_ESCAPED: Final = re.compile(r"u[0-9A-Fa-f]{4}|.")
_BASE64: Final = r"[A-Za-z0-9+/_-]{16,}+={0,2}"
_BASE64_PART: Final = r"[A-Za-z0-9+]{16,}+={0,2}"


class Token(NamedTuple):
    """A run of base64 in the original, and its decoded text."""

    start: int
    end: int
    text: str

    def ends(self, _: str) -> bool:
        """A token's text ends with the token."""
        return True


def base64_texts(views: Views) -> Iterator[Token]:
    """The texts in base64 and base64url tokens of at least 16 characters, one level deep."""
    pattern = compiled(_BASE64)
    for at in views.anchors("runs", b"A" * 16):
        # The characters of an escape such as \n or \u00e9 are not part of the token.
        escape = _ESCAPED.match(views.text, at) if views.text[at - 1 : at] == "\\" else None
        match = pattern.match(views.text, at if escape is None else escape.end())
        if match is None:
            continue
        text = _decoded(match[0])
        if text is not None:
            yield Token(*match.span(), text)
            continue
        # A path before the token, or names joined to it: decode the parts separately.
        for part in compiled(_BASE64_PART).finditer(match[0]):
            if len(part[0]) < len(match[0]) and (text := _decoded(part[0])) is not None:
                yield Token(match.start() + part.start(), match.start() + part.end(), text)


def _decoded(token: str) -> str | None:
    """The decoded text of a token, or None. Binary data is recognized by its beginning."""
    plain = token.rstrip("=").replace("-", "+").replace("_", "/")
    if _text(plain[:64]) is None:
        return None
    return _text(plain)


def _text(plain: str) -> str | None:
    cut = len(plain) - len(plain) % 4 if len(plain) % 4 == 1 else len(plain)
    try:
        raw = binascii.a2b_base64(plain[:cut] + "=" * (-cut % 4))
    except (binascii.Error, ValueError):
        return None
    if len(raw) != len(raw.translate(None, _NOT_TEXT)):
        return _nearly(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(raw) - 3:
            return _nearly(raw)
        return raw[: error.start].decode("utf-8")  # the beginning of a longer token


def _nearly(raw: bytes) -> str | None:
    """Decode mostly printable bytes that are not UTF-8: Latin-1, UTF-16, control characters."""
    if raw[1::2].count(0) * 4 >= len(raw) or raw[::2].count(0) * 4 >= len(raw):
        raw = raw.replace(b"\x00", b"")
    if len(raw.translate(None, _PRINTABLE)) * 6 > len(raw):
        return None
    return raw.rstrip(b"\x00").decode("latin-1")
