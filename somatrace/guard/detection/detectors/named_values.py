"""Detect secrets by the name next to them: in `name=value`, JSON, YAML, XML, headers, flags, sentences.

Quotes may be escaped any number of times, as in JSON nested in JSON strings.
"""

from __future__ import annotations

import re
import string
from typing import Final

from somatrace.guard.detection.detectors.other_scripts import FOREIGN
from somatrace.guard.detection.detectors.secret_names import (
    NameMeaning,
    NameStrength,
    is_code,
    is_proved,
    meaning,
    stands_elsewhere,
)
from somatrace.guard.detection.detectors.structured_values import (
    LINE_END,
    TYPED,
    VALUE_KEY,
    below,
    beside,
    block,
    items,
    with_spaces,
)
from somatrace.guard.detection.detectors.value_bounds import (
    QUOTE,
    SPACE,
    opens,
    quoted_end,
    trimmed,
    tripled,
    unclosed,
)
from somatrace.guard.detection.engine import MARKER, Detector, ValueSpan, compiled

_NAME: Final = string.ascii_letters + string.digits + "_.-"
_MAX_NAME: Final = 64
_MAX_HEADER: Final = 4096
_MAX_BARE: Final = 512

#: Between a quoted name and its value: line ends, or an object with the value alone in it.
_NESTED: Final = (
    rf"(?:{SPACE}{{1,40}}+(?=\\{{0,15}}[\"'\[]))?"
    rf"(?:\{{{SPACE}{{0,40}}+{QUOTE}[vV]alue{QUOTE}[ \t]{{0,4}}:[ \t]{{0,4}}(?=\\{{0,15}}[\"']))?"
)
_NAME_AS_VALUE: Final = rf"[A-Za-z0-9_.-]{{0,{_MAX_NAME}}}+(?={QUOTE}{SPACE}{{0,8}}+[,}}])"
#: From the middle of a name to the start of its value.
_TO_VALUE: Final = (
    rf"(?P<rest>[A-Za-z0-9_.-]{{0,{_MAX_NAME}}}+)(?P<closed>{QUOTE})?(?:"
    rf"(?:[\s,]{{1,8}}|(?:\\{{1,15}}[nrt][ \t]{{0,8}}){{1,2}})(?:{QUOTE})?{VALUE_KEY}(?:{QUOTE})?"
    rf"[ \t]{{0,4}}[:=][ \t]{{0,4}}{TYPED}"
    rf"|</[A-Za-z]{{1,24}}>{SPACE}{{0,40}}+<(?:{VALUE_KEY}|string)>"
    r"|\]?[ \t]{0,8}(?:(?P<equals>(?::[ \t]?[Ss]tr(?:ing)?[ \t]?)?(?:=>|:=|={1,2}))|(?P<colon>:(?!:)\*{0,2})"
    r"|>|(?P<comma>,(?=[ \t]{0,4}[bruf]?\\{0,15}[\"'])))[ \t]{0,8}"
    rf"(?(closed){_NESTED})(?P<list>\[{SPACE}{{0,40}}+(?=[bruf]{{0,2}}\\{{0,15}}[\"']))?"
    r"|(?P<space>[ \t]{1,4}|(?=->|→)))"
    rf"(?:[bruf]{{1,2}}(?=\\{{0,15}}[\"']))?(?P<quote>{QUOTE})?"
)
_SAYS: Final = (
    r"(?:[ \t]{1,4}(?:is|was|ist|lautet|est|es|set to|provided)[ \t]{0,4}(?P<colon>:?)"
    rf"(?:[ \t]{{1,4}}|(?P<line>[ \t]{{0,4}}(?:{LINE_END}){{1,2}}[ \t]{{0,8}}))"
    r"|(?P<apart>[ \t]{0,4}[|-][ \t]{1,4}|[ \t]{0,4}(?:->|→|::)[ \t]{0,4}"
    r"|[ \t]{0,4}\t[ \t]{0,4}))(?:(?P<quote>\\{0,15}[\"'`])|\\{0,15})"
)
#: A separator ends a value if another name or nothing follows it; argon2 hashes contain names themselves.
_BARE: Final = r"(?:[^\s\"'`<>&;,\\]++|[&;,](?![\s\"'\\]|$|(?![tp]=\d{1,9}[,$])[\w.-]{1,40}[=:]))++"
#: After a quoted name a closing bracket ends a value that has no quotes: in JSON it is a number or a literal.
_BARE_IN_JSON: Final = (
    r"(?:[^\s\"'`<>&;,\\}\]]++|[}\]](?![\s\"'`\\,;}\]{\[]|$)|[&;,](?![\s\"'\\{\[]|$|[\w.-]{1,40}[=:]))++"
)
#: To the end of the line or the enclosing string. Quoted values are included: the characters after an
#: opening quote never follow the closing quote of a JSON string.
_LINE: Final = (
    r"(?:[^\r\n\"'`\\<>]++|(?<==)(?P<own>\\{0,15}\")(?=[\w$%*/@!#?~^|-])[^\"\\\r\n<>]{0,1024}(?P=own))++"
)
#: The opening of a name-value pair, up to the name.
_PAIR: Final = rf"[(\[]{SPACE}{{0,8}}[bru]{{0,2}}{QUOTE}$"
#: What follows a key of an object: the string after a flag is not its value then.
_KEY_END: Final = rf"{QUOTE}{SPACE}{{0,40}}(?::|=>)"
_PAIR_END: Final = rf"{QUOTE}{SPACE}{{0,8}}+,?{SPACE}{{0,8}}+[)\]]"

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


def _name_start(text: str, at: int) -> int:
    window = text[max(0, at - _MAX_NAME) : at]
    start = at - (len(window) - len(window.rstrip(_NAME)))
    if 0 < start < at and text[start - 1] == "\\" and text[start] in "nrtbf":
        start += 1  # the letter of an escape
    return start


def _prose(text: str, value: str, end: int) -> bool:
    """Whether a bare value after a colon is a word of a sentence: only letters, followed by more words."""
    if not value.replace("-", "").replace("'", "").isalpha():
        return False
    return compiled(r"[ \t]+[A-Za-z(]").match(text, end) is not None


def locate_named(text: str, at: int) -> ValueSpan | None:
    """The value of the name that contains the anchor."""
    match = compiled(_TO_VALUE).match(text, at)
    found = _of_object(text, at) if match is None or match["comma"] else None
    return _after_name(text, at, match) if found is None and match is not None else found


def _after_name(text: str, at: int, match: re.Match[str]) -> ValueSpan | None:
    start = _name_start(text, at)
    full = text[start : match.end("rest")]
    name = full.strip("-.")
    what = meaning(name) if len(name) <= _MAX_NAME else None
    if what is None or (start > 0 and compiled(MARKER).match(text, start - 1)):
        return None
    if match["space"] is not None and (not full.startswith("-") or text.startswith("-", match.end())):
        return _stated(text, match.end("rest"), what)
    if not _has_value(text, match, what, start):
        return None
    if match["quote"] and (found := _quoted(text, match, what, name)) is not None:
        return found[0]
    if what.strength is NameStrength.HEADER:
        return _header(text, match, what)
    if match["equals"] is not None and text[start - 1 : start] in ("?", "&"):
        what = _in_query(what)
    return _bare(text, match, what, name)


def _is_argument(value: str) -> bool:
    """Whether the item after a flag in a list is not its value, but the next flag or an alias."""
    named = compiled(r"[A-Za-z_.-]{1,64}").fullmatch(value) is not None and meaning(value) is not None
    return named or value.startswith("-")


def _of_object(text: str, at: int) -> ValueSpan | None:
    """The value of an object in which the name is itself a value: `{"name": "password", "value": X}`."""
    rest = compiled(_NAME_AS_VALUE).match(text, at)
    if rest is None:
        return None
    start = _name_start(text, at)
    name = text[start : rest.end()]
    what = meaning(name) if len(name) <= _MAX_NAME else None
    value = None if what is None else beside(text, start, rest.end())
    return None if what is None or value is None else _in_quotes(text, *value, what, name)


def _quoted(text: str, match: re.Match[str], what: NameMeaning, name: str) -> tuple[ValueSpan | None] | None:
    """The quoted value, or every value of a list; None if the quotes enclose nothing."""
    begin, quote = match.end(), match["quote"]
    if match["list"]:
        every = [_in_quotes(text, *item, what, name) for item in items(text, begin, quote)]
        found = [one for one in every if one is not None]
        return (found[0]._replace(more=tuple(found[1:])),) if found else None
    if what.strength is NameStrength.HEADER:
        return None
    if (inner := tripled(text, begin, quote)) is not None:
        return (_checked(text, *inner, what, name),)
    end = quoted_end(text, begin, quote)
    if end is None and (end := unclosed(text, begin, quote)) is None:
        return None
    if match["comma"] and (_is_argument(text[begin:end]) or compiled(_KEY_END).match(text, end)):
        return (None,)
    return (_checked(text, begin, end, what, name),)


def _in_quotes(text: str, begin: int, end: int, what: NameMeaning, name: str) -> ValueSpan | None:
    if what.strength is not NameStrength.HEADER:
        return _checked(text, begin, end, what, name)
    value = text[begin:end]
    if len(value) < 4 or stands_elsewhere(value) or (what.type == "COOKIE" and "=" not in value):
        return None
    return ValueSpan(begin, end, what.type)


def _has_value(text: str, match: re.Match[str], what: NameMeaning, start: int) -> bool:
    """Whether the text after a name can be its value: not a list, the next string, or a closing quote."""
    if match["comma"] is not None and not (
        match["quote"]
        and (
            what.strength is NameStrength.HEADER
            or text.startswith("-", start)
            or _is_pair(text, match, start)
        )
    ):
        return False
    if match["quote"]:
        return opens(text, match.end(), match["closed"], match["quote"])
    return not match["closed"] or text[match.end() : match.end() + 1] not in ("[", "{", "")


def _is_pair(text: str, match: re.Match[str], start: int) -> bool:
    """Whether a quoted name and the string after it are alone in brackets, and the string is not a name."""
    if match["list"] or not match["closed"] or not compiled(_PAIR).search(text[max(0, start - 40) : start]):
        return False
    begin = match.end()
    end = quoted_end(text, begin, match["quote"])
    if end is None or not compiled(_PAIR_END).match(text, end):
        return False
    return compiled(r"[A-Za-z_.-]*|\S*\s.*|(?i:utf-?8|latin-?1)").fullmatch(text[begin:end]) is None


def _bare(text: str, match: re.Match[str], what: NameMeaning, name: str) -> ValueSpan | None:
    """An unquoted value: neither a word of a sentence nor a variable reference."""
    begin = match.end()
    if match["colon"] and not match["closed"] and (value := _beneath(text, match)) is not None:
        return _checked(text, *value, what, name)
    pattern = _BARE_IN_JSON if match["closed"] and not match["quote"] else _BARE
    bare = compiled(pattern).match(text, begin, begin + _MAX_BARE)
    if bare is None:
        return None
    end = trimmed(text, begin, bare.end())
    if match.end("equals") == begin and name.lower() in ("password", "pwd"):
        end = with_spaces(text, match.start() - len(name) + len(match["rest"]), begin) or end
    if match["colon"] is not None and not match["quote"] and _prose(text, text[begin:end], end):
        return None
    if (name == "pass" and match["equals"] is None) or is_code(name, text[begin:end]):  # "pass: 12, fail: 3"
        return None
    return _checked(text, begin, end, what, name)


def _beneath(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    """The value on the lines after a name, as YAML writes it."""
    below_name = below(text, match.end("colon"))
    return below_name if below_name is not None else block(text, match.end())


def _in_query(what: NameMeaning) -> NameMeaning:
    """Query parameters are transmitted values, so their name is treated as certain evidence."""
    if what.strength is NameStrength.RANDOM and what.least < 20:
        return NameMeaning(what.type, NameStrength.SURE, 6)
    if what.strength is NameStrength.KEY:
        return what._replace(strength=NameStrength.RANDOM)
    return what


def _checked(text: str, begin: int, end: int, what: NameMeaning, name: str) -> ValueSpan | None:
    value = text[begin:end]
    if len(value) < what.least or stands_elsewhere(value):
        return None
    if what.strength in (NameStrength.RANDOM, NameStrength.KEY) and not is_proved(what, value, what.least):
        return None
    if name.lower() == "pwd" and value.startswith(("/", "~", ".", "C:")):  # the working directory
        return None
    return ValueSpan(begin, end, what.type)


def _header(text: str, match: re.Match[str], what: NameMeaning) -> ValueSpan | None:
    """The value of a header: to the closing quote, else to the end of the line."""
    begin, quote, pair = match.end(), match["quote"] or "", match["comma"] is not None
    end = quoted_end(text, begin, quote) if quote else None
    if end is None:
        pattern = _LINE if match["colon"] or quote else _BARE
        if match["closed"] and not quote:
            pattern = _BARE_IN_JSON
        line = compiled(pattern).match(text, begin, begin + (_MAX_HEADER if pattern is _LINE else _MAX_BARE))
        if line is None:
            return None
        end = trimmed(text, begin, begin + len(line[0].rstrip()))
    value = text[begin:end]
    if len(value) < 4 or stands_elsewhere(value):
        return None
    if pair and compiled(r"\\{0,15}[\"'`]\s{0,8}:").match(text, end):
        return None  # the next key of an object, not the second item of a pair
    if what.type == "COOKIE" and "=" not in value:
        return None
    if what.type == "AUTHORIZATION" and not quote and not _credential(value):
        return None
    return ValueSpan(begin, end, what.type)


def _credential(value: str) -> bool:
    """Whether a bare value is a scheme and a credential, or one word: not a sentence about authorization."""
    words = value.split(None, 2)
    if len(words) == 1:
        return len(value) >= 8 and (any(character.isdigit() for character in value) or len(value) >= 20)
    return (
        compiled(
            r"(?i:basic|bearer|digest|token|apikey|negotiate|ntlm|hawk|aws4-hmac-sha256|key|sso-key)"
        ).fullmatch(words[0])
        is not None
        and len(words[1]) >= 4
    )


def _stated(text: str, at: int, what: NameMeaning) -> ValueSpan | None:
    """The value after "the password is", unless it may be an ordinary word of a sentence about a password."""
    match = compiled(_SAYS).match(text, at)
    if match is None or what.strength is NameStrength.HEADER:
        return None
    if match["quote"] and what.strength is NameStrength.SURE:
        end = quoted_end(text, match.end(), match["quote"])
        value = "" if end is None else text[match.end() : end]
        if end is not None and _is_phrase(value, after_colon=match["colon"] == ":"):
            return _checked(text, match.end(), end, what, "")
    bare = compiled(_BARE).match(text, match.end(), match.end() + _MAX_BARE)
    if bare is None:
        return None
    end = trimmed(text, bare.start(), bare.end())
    value = text[bare.start() : end]
    if match["line"] and compiled(rf"[ \t]*(?:{LINE_END}|$)").match(text, end) is None:
        return None  # a line of text
    plain = compiled(r"[A-Z]?[a-z'-]+|[A-Z'-]+").fullmatch(value) is not None
    least = max(what.least, 4)
    if plain or len(value) < least or stands_elsewhere(value) or is_code("", value):
        return None
    if (match["apart"] or what.type != "PASSWORD") and not is_proved(what, value, max(least, 8)):
        return None
    return ValueSpan(bare.start(), end, what.type)


def _is_phrase(value: str, *, after_colon: bool) -> bool:
    """Whether a quoted value of several words is stated, rather than words of an explanation."""
    return " " in value.strip() and (after_colon or compiled(r"\d").search(value) is not None)


NAMED: Final[tuple[Detector, ...]] = (
    Detector(
        ("PASSWORD", "SECRET", "AUTHORIZATION", "COOKIE"),
        "secrets",
        "values under names of passwords, keys and tokens in `name=value`, JSON, YAML, XML, headers, flags, "
        "addresses and sentences; under names that are weak evidence, only values that look random",
        "low",
        STEMS,
        locate_named,
        reach=_MAX_BARE,
    ),
    FOREIGN,
)
