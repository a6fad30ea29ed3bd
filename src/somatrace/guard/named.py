"""Secrets that only their name gives away: in `name=value`, JSON, YAML, XML, headers, flags, sentences.

Quotes may be escaped any number of times, as in JSON inside strings inside JSON.
"""

from __future__ import annotations

import re
import string
from typing import Final

from somatrace.guard.detecting import MARKER, Detector, Found, compiled
from somatrace.guard.naming import Meaning, Strength, is_code, looks_random, meaning, stands_elsewhere

_NAME: Final = string.ascii_letters + string.digits + "_.-"
_MAX_NAME: Final = 64
_MAX_VALUE: Final = 2048
_MAX_HEADER: Final = 4096

_QUOTE: Final = r"\\{0,15}[\"'`]"
#: From the middle of a name to where its value begins.
_TO_VALUE: Final = (
    rf"(?P<rest>[A-Za-z0-9_.-]{{0,{_MAX_NAME}}})(?P<closed>{_QUOTE})?(?:"
    rf"[\s,]{{1,8}}(?:{_QUOTE})?[vV]alue(?:{_QUOTE})?[ \t]{{0,4}}[:=][ \t]{{0,4}}"
    r"|\]?[ \t]{0,8}(?:(?P<equals>(?::[ \t]?[Ss]tr(?:ing)?[ \t]?)?(?:=>|:=|={1,2}))|(?P<colon>:\*{0,2})|>"
    r"|(?P<comma>,(?=[ \t]{0,4}[bruf]?\\{0,15}[\"'])))[ \t]{0,8}"
    r"|(?P<space>[ \t]{1,4}))"
    rf"(?:\[[ \t]{{0,4}}(?=\\{{0,15}}[\"']))?(?:[bruf]{{1,2}}(?=[\"']))?(?P<quote>{_QUOTE})?"
)
_STRUCTURE: Final = r"\"[ \t]{0,8}[,:\]}]"
_SAYS: Final = (
    r"(?:[ \t]{1,4}(?:is|was|ist|lautet|est|es|set to|provided)[ \t]{0,4}:?[ \t]{1,4}"
    r"|(?P<apart>[ \t]{0,4}[|-][ \t]{1,4}|[ \t]{0,4}\t[ \t]{0,4}))\\{0,15}[\"'`]?"
)
#: A separator ends a value where another name follows it, or nothing does.
_BARE: Final = r"(?:[^\s\"'`<>&;,\\]|[&;,](?![\s\"'\\]|$|[\w.-]{1,40}[=:])){1,512}"
#: After a quoted name a closing bracket ends a value that has no quotes: in JSON it is a number or a literal.
_BARE_IN_JSON: Final = (
    r"(?:[^\s\"'`<>&;,\\}\]]|[}\]](?![\s\"'`\\,;}\]{\[]|$)|[&;,](?![\s\"'\\{\[]|$|[\w.-]{1,40}[=:])){1,512}"
)
_LINE: Final = r"[^\r\n\"'`\\<>]{1,4096}"

# ruff: noqa: RUF001 - separators of other scripts
_FOREIGN: Final = (
    r"\w{2,14}(?: \w{1,8})?[\"'`]?\s{0,4}(?:[=:：]|это|是|は|为|為)\s{0,4}"
    r"[\"'`«“]?([^\s\"'`<>&;,\\，。；»”]{3,512})"
)

STEMS: Final = tuple(
    stem.encode()
    for stem in (
        "pass",
        "pwd",
        "secret",
        "token",
        "key",
        "auth",
        "cookie",
        "credential",
        "sig",
        "jwt",
        "sas",
        "_pat",
        "kennwort",
        "contrasena",
        "wachtwoord",
        "senha",
    )
)
#: Words for password and secret that are not ASCII, or not one word.
FOREIGN: Final = (
    "пароль",
    "секрет",
    "contraseña",
    "密码",
    "密碼",
    "口令",
    "パスワード",
    "비밀번호",
    "hasło",
    "şifre",
    "κωδικός",
    "סיסמה",
    "كلمة المرور",
    "पासवर्ड",
)


def _quoted_end(text: str, start: int, quote: str) -> int | None:
    """Where a value in quotes ends, None without a closing quote within bounds.

    In JSON nested k deep a structural quote has 2^k - 1 backslashes of its own before it, after an even
    number (of that level) that belong to the text. So the ones at the end of the binary count of backslashes
    are the level of a quote; a deeper one than the opening quote's is part of the value.
    """
    level, mark = _level(len(quote) - 1), quote[-1]
    at = text.find(mark, start, start + _MAX_VALUE)
    while at >= 0:
        run = at
        while run > start and text[run - 1] == "\\":
            run -= 1
        closing = _level(at - run)
        if closing <= level:
            end = at - (1 << closing) + 1
            # Quotes of another kind do not hold structure of JSON: they opened nothing.
            return None if mark != '"' and compiled(_STRUCTURE).search(text, start, end) else end
        at = text.find(mark, at + 1, start + _MAX_VALUE)
    return None


def _opens(text: str, begin: int, closed: str | None, quote: str) -> bool:
    """Whether a quote opens a value, and does not end the string in JSON that a name stands at the end of."""
    if closed is None:
        return compiled(r"\s{0,8}[,:\]}]").match(text, begin) is None
    return closed[-1] != quote[-1] or len(closed) == len(quote)


def _level(backslashes: int) -> int:
    return (~backslashes & (backslashes + 1)).bit_length() - 1


def _name_start(text: str, at: int) -> int:
    window = text[max(0, at - _MAX_NAME) : at]
    start = at - (len(window) - len(window.rstrip(_NAME)))
    if 0 < start < at and text[start - 1] == "\\" and text[start] in "nrtbf":
        start += 1  # the letter of an escape
    return start


def _trimmed(text: str, start: int, end: int) -> int:
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


def _prose(text: str, value: str, end: int) -> bool:
    """Whether a bare value after a colon is a word of a sentence: letters alone, and more words after it."""
    if not value.replace("-", "").replace("'", "").isalpha():
        return False
    return compiled(r"[ \t]+[A-Za-z(]").match(text, end) is not None


def locate_named(text: str, at: int) -> Found | None:
    """The value of the name that an anchor is part of."""
    match = compiled(_TO_VALUE).match(text, at)
    if match is None:
        return None
    start = _name_start(text, at)
    full = text[start : match.end("rest")]
    name = full.strip("-.")
    what = meaning(name) if len(name) <= _MAX_NAME else None
    if what is None or (start > 0 and compiled(MARKER).match(text, start - 1)):
        return None
    if match["space"] is not None and (not full.startswith("-") or text.startswith("-", match.end())):
        return _said(text, match.end("rest"), what)
    if not _has_value(text, match, what):
        return None
    if what.strength is Strength.HEADER:
        return _header(text, match, what)
    if match["quote"] and (end := _quoted_end(text, match.end(), match["quote"])) is not None:
        return _checked(text, match.end(), end, what, name)
    if match["equals"] is not None and text[start - 1 : start] in ("?", "&"):
        what = _in_query(what)
    return _bare(text, match, what, name)


def _has_value(text: str, match: re.Match[str], what: Meaning) -> bool:
    """Whether what follows a name can be its value: no list, no next string, no end of its own."""
    if match["comma"] is not None and (what.strength is not Strength.HEADER or not match["quote"]):
        return False
    if match["quote"]:
        return _opens(text, match.end(), match["closed"], match["quote"])
    return not match["closed"] or text[match.end() : match.end() + 1] not in ("[", "{", "")


def _bare(text: str, match: re.Match[str], what: Meaning, name: str) -> Found | None:
    """A value without quotes: neither a word of a sentence nor a variable that is handed on."""
    begin = match.end()
    bare = compiled(_BARE_IN_JSON if match["closed"] and not match["quote"] else _BARE).match(text, begin)
    if bare is None:
        return None
    end = _trimmed(text, begin, bare.end())
    if match["colon"] is not None and not match["quote"] and _prose(text, text[begin:end], end):
        return None
    if (name == "pass" and match["equals"] is None) or is_code(name, text[begin:end]):  # "pass: 12, fail: 3"
        return None
    return _checked(text, begin, end, what, name)


def _in_query(what: Meaning) -> Meaning:
    """A parameter of an address is sent, so whatever it is called like is what it is."""
    if what.strength is Strength.RANDOM and what.least < 20:
        return Meaning(what.type, Strength.SURE, 6)
    return what


def _checked(text: str, begin: int, end: int, what: Meaning, name: str) -> Found | None:
    value = text[begin:end]
    if len(value) < what.least or stands_elsewhere(value):
        return None
    if what.strength is Strength.RANDOM and not looks_random(value, what.least):
        return None
    if name.lower() == "pwd" and value.startswith(("/", "~", ".", "C:")):  # the working directory
        return None
    return Found(begin, end, what.type)


def _header(text: str, match: re.Match[str], what: Meaning) -> Found | None:
    """The value of a header: to the closing quote, else to the end of the line."""
    begin, quote, pair = match.end(), match["quote"] or "", match["comma"] is not None
    end = _quoted_end(text, begin, quote) if quote else None
    if end is None:
        pattern = _LINE if match["colon"] or quote else _BARE
        if match["closed"] and not quote:
            pattern = _BARE_IN_JSON
        line = compiled(pattern).match(text, begin)
        if line is None:
            return None
        end = _trimmed(text, begin, begin + len(line[0].rstrip()))
    value = text[begin:end]
    if len(value) < 4 or stands_elsewhere(value):
        return None
    if pair and compiled(r"\\{0,15}[\"'`]\s{0,8}:").match(text, end):
        return None  # the next key of an object, not the second of two
    if what.type == "COOKIE" and "=" not in value:
        return None
    if what.type == "AUTHORIZATION" and not quote and not _credential(value):
        return None
    return Found(begin, end, what.type)


def _credential(value: str) -> bool:
    """Whether a bare value is a scheme and a credential, or one word: not a sentence about authorization."""
    words = value.split()
    if len(words) == 1:
        return len(value) >= 8 and (any(character.isdigit() for character in value) or len(value) >= 20)
    return (
        compiled(
            r"(?i:basic|bearer|digest|token|apikey|negotiate|ntlm|hawk|aws4-hmac-sha256|key|sso-key)"
        ).fullmatch(words[0])
        is not None
        and len(words[1]) >= 4
    )


def _said(text: str, at: int, what: Meaning) -> Found | None:
    """What follows "the password is": only what no sentence would say of a password."""
    match = compiled(_SAYS).match(text, at)
    if match is None or what.strength is Strength.HEADER:
        return None
    bare = compiled(_BARE).match(text, match.end())
    if bare is None:
        return None
    end = _trimmed(text, bare.start(), bare.end())
    value = text[bare.start() : end]
    plain = compiled(r"[A-Z]?[a-z'-]+|[A-Z'-]+").fullmatch(value) is not None
    least = max(what.least, 4)
    if plain or len(value) < least or stands_elsewhere(value) or is_code("", value):
        return None
    if (match["apart"] or what.type != "PASSWORD") and not looks_random(value, max(least, 8)):
        return None
    return Found(bare.start(), end, what.type)


def locate_foreign(text: str, at: int) -> Found | None:
    """The value after a word for password in another script: `пароль: X`."""
    match = re.compile(_FOREIGN).match(text, at)
    if match is None:
        return None
    start, end = match.start(1), _trimmed(text, *match.span(1))
    value = text[start:end]
    if len(value) < 3 or value[0] in "{[" or stands_elsewhere(value):
        return None
    if value.isalpha() and not value.isascii():
        return None
    return Found(start, end, "PASSWORD")


NAMED: Final[tuple[Detector, ...]] = (
    Detector(
        ("PASSWORD", "SECRET", "AUTHORIZATION", "COOKIE"),
        "secrets",
        "values under names of passwords, keys and tokens in `name=value`, JSON, YAML, XML, headers, flags, "
        "addresses and sentences; where the name alone proves little, only values that look random",
        "low",
        STEMS,
        locate_named,
    ),
    Detector(
        ("PASSWORD",),
        "secrets",
        "values after words for password that are not ASCII",
        "wide",
        FOREIGN,
        locate_foreign,
    ),
)
