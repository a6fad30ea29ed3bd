"""The declared encoding of a Python source file (PEP 263), and whether the check reads it.

Python accepts any text codec. Some take quadratic time (punycode), and in some (utf_7, EBCDIC code pages) a
search of the bytes does not find the words of the source.
"""

from __future__ import annotations

import codecs
import re

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_NO_CODE = re.compile(rb"^[ \t\f]*(?:#.*)?$")
#: Encodings in which real sources are written; in all of them ASCII characters are the bytes of ASCII.
_TEXT = re.compile(
    r"utf-?8(?:-.*)?|u8|(?:us-?)?ascii|646"
    r"|latin-?[1-9]0?(?:-.*)?|l[1-9]|iso-?latin-?1(?:-.*)?|iso-?8859(?:-?(?:1[0-6]|[1-9]))?(?:-.*)?|cyrillic|greek"
    r"|(?:cp-?|windows-?)?125[0-8]|(?:cp|ibm)-?(?:437|737|775|85[0-8]|86[0-6]|869|874|932|936|949|950)"
    r"|koi8-?[rtu]|mac-?(?:roman|cyrillic|greek|latin2|iceland|turkish)|tis-?620"
    r"|euc-?(?:jp|kr|cn)|ujis|shift-?jis(?:-?(?:2004|x0213))?|s-?jis|ms-?kanji|gb-?2312|gb-?k|gb-?18030"
    r"|big5(?:-?hkscs)?"
)
_LONGEST = 40


def strange_encoding(source: bytes) -> tuple[str, int] | None:
    """The declared encoding and its line, if the check does not read it."""
    start = source[:10_000].removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", start, maxsplit=2)[:2], 1):
        found = _COOKIE.match(line)
        if found is not None:
            name = found[1].decode("ascii", "replace")
            known = _TEXT.fullmatch(name.lower().replace("_", "-"))
            return None if known is not None else (name[:_LONGEST], number)
        if not _NO_CODE.match(line):
            return None
    return None
