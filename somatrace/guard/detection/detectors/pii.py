"""Detect email and IP addresses, phone numbers with a country code, and cards and IBANs by check digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from somatrace.guard.detection.detectors.value_bounds import QUOTE, SPACE
from somatrace.guard.detection.engine import LEFT, Detector, ValueSpan, compiled

# -- e-mail ---------------------------------------------------------------------------------------------

#: Read backwards from the @; letters of any script, as RFC 6531 allows. Of RFC 5322's special characters,
#: those that do not end a word in URLs, JSON or code.
_LOCAL: Final = re.compile(r"[\w.+%~-]{1,64}")
_DOMAIN: Final = re.compile(
    r"@((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8})([^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w])"
)
#: At the very end of a text, which may be truncated there: a domain without its last part.
_CUT_DOMAIN: Final = re.compile(r"@([^\W\d_][\w-]{2,62}(?:\.[\w-]{1,63}){0,4}?)(\.[^\W\d_]?)?\Z")
#: Images for high-density screens have names such as icon@2x.png.
_DENSITY: Final = re.compile(r"\dx\.")


def locate_email(text: str, at: int) -> ValueSpan | None:
    """An address around an @."""
    domain = _DOMAIN.match(text, at)
    local = _LOCAL.match(text[max(0, at - 65) : at][::-1])
    if domain is None:
        domain = _CUT_DOMAIN.match(text, at)  # both patterns have the same groups
        if domain is None or local is None or not _is_address(local[0][::-1], domain[1]):
            return None
    if local is None or len(local[0]) > 64 or _DENSITY.match(domain[1]):
        return None
    start = at - len(local[0])
    if start > 0 and text[start - 1] == "\\" and text[start] in "nrtbf" and start + 1 < at:
        start += 1
    while start < at - 1 and text[start] in ".-":
        start += 1
    if text[start:at] == "git" and text.startswith(":", domain.end()):
        return None  # git@host:path
    if _in_userinfo(text, at):
        return None
    return ValueSpan(start, domain.end(), "EMAIL")


def _is_address(local: str, domain: str) -> bool:
    """Whether half an address counts: two names joined by a dot, and not an internal host."""
    names = local.strip(".-").split(".")
    return len(names) >= 2 and all(len(name) >= 2 for name in names[-2:]) and domain != "localhost"


def _in_userinfo(text: str, at: int) -> bool:
    """Whether the @ separates the user:password of a URL from its host."""
    before = text[max(0, at - 400) : at].rpartition("://")
    return (
        bool(before[1])
        and compiled(r"[^\s/\"'<>:]{0,128}:[^\s/\"'<>]{1,256}").fullmatch(before[2]) is not None
    )


# -- numbers with check digits -------------------------------------------------------------------------

#: Leading digits and lengths published in ISO/IEC 7812 and by the networks; of 17 to 19 digits only those
#: in use, since database ids have the same length.
_CARDS: Final = (
    (r"4", (13, 16)),  # Visa
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    (r"3[47]", (15,)),  # American Express
    (r"6011|64[4-9]|65", (16,)),  # Discover
    (r"30[0-5]|3095|36|38|39", (14, 16)),  # Diners Club
    (r"352[89]|35[3-8]", (16,)),  # JCB
    (r"62|81", (16, 19)),  # UnionPay
    (r"50|5[6-9]|6[037]", (13, 15, 16, 19)),  # Maestro
)
#: IBAN length per country in SWIFT's registry.
_IBANS: Final = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18
    DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23
    IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27
    MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19
    SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
#: The format of the account number where known: n digits, a letters, c either.
_IBAN_FORMS: Final = """
    AT16n BE12n BG4a6n8c CH5n12c CY8n16c CZ20n DE18n DK14n EE16n ES20n FI14n FR10n11c2n GB4a14n GR7n16c
    HR17n HU24n IE4a14n IS22n IT1a10n12c LI5n12c LT16n LU3n13c LV4a13c MC10n11c2n MT4a5n18c NL4a10n NO11n
    PL24n PT21n RO4a16c SE20n SI15n SK20n SM1a10n12c TR6n16c
"""
_MADE_OF: Final = {"n": "[0-9]", "a": "[A-Z]", "c": "[0-9A-Z]"}
_IBAN_PATTERNS: Final = {
    form[:2]: re.sub(r"(\d+)([nac])", lambda part: f"{_MADE_OF[part[2]]}{{{part[1]}}}", form[2:])
    for form in _IBAN_FORMS.split()
}
_IBAN_LENGTHS: Final = {known[:2]: int(known[2:]) for known in _IBANS.split()}


def luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Whether digits are a payment card number: issuer, length, check digit, and not one repeated digit."""
    if len(set(digits)) < 2 or not luhn(digits):
        return False
    return any(len(digits) in lengths and compiled(first).match(digits) for first, lengths in _CARDS)


def is_iban(text: str) -> bool:
    """Whether letters and digits are an IBAN: its country's length and form, and ISO 7064 mod 97-10."""
    form = _IBAN_PATTERNS.get(text[:2])
    if _IBAN_LENGTHS.get(text[:2]) != len(text) or (form and not compiled(form).fullmatch(text, 4)):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


_CARD_LEFT: Final = r"(?:(?<![A-Za-z0-9_.+])|(?<=\\[nrtbf])|(?<=[^0-9]\.))"
#: The span id of a W3C traceparent may consist of digits.
_NO_SPAN_ID: Final = r"(?<!\b00-[0-9a-f]{32}-)"
#: Between the groups of a card, or between its digits.
_GAP: Final = r"[ .\t-]|  "


def _in_groups(*gaps: bytes) -> tuple[bytes, ...]:
    """The anchors of cards with one of these gaps."""
    return tuple(
        gap.join(parts)
        for gap in gaps
        for parts in ([b"0000", b"0000", b"0"], [b"0000", b"000000", b""], [b"0"] * 13)
    )


_CARD_FORMS: Final = (
    _NO_SPAN_ID + r"\d{13,19}",
    rf"\d{{4}}({_GAP})\d{{4}}\1\d{{4}}\1\d{{4}}\1\d{{1,3}}",
    rf"\d{{4}}({_GAP})\d{{4}}\1\d{{4}}\1\d{{1,4}}",
    rf"\d{{4}}({_GAP})\d{{6}}\1\d{{4,5}}",
    rf"\d({_GAP})\d(?:\1\d){{11,17}}+(?!\1\d)",
)


def locate_card(text: str, at: int) -> ValueSpan | None:
    """A card number starting here, ungrouped or in groups."""
    for form in _CARD_FORMS:
        match = compiled(_CARD_LEFT + form + r"(?![A-Za-z0-9_]|\.\d)").match(text, at)
        if match is not None and is_card(re.sub(r"\D", "", match[0])):
            return ValueSpan(*match.span(), "CARD")
    return None


#: Numbers in brackets, plain or as texts: the digits or the groups of a card.
_COMMA: Final = rf"{SPACE}{{0,40}}+,{SPACE}{{0,40}}+"
_LISTED: Final = (
    rf"[\[(]{SPACE}{{0,40}}+(?P<numbers>\d{{1,6}}(?:{_COMMA}\d{{1,6}}){{2,18}}+){SPACE}{{0,40}}+[\])]"
)
_LISTED_TEXTS: Final = (
    rf"[\[(]{SPACE}{{0,40}}+(?P<quote>{QUOTE})(?P<numbers>\d{{1,6}}(?:(?P=quote){_COMMA}(?P=quote)\d{{1,6}})"
    rf"{{2,18}}+)(?P=quote){SPACE}{{0,40}}+[\])]"
)
#: Lengths of the groups of a card.
_GROUPED: Final = re.compile("4444[123]?|444[1-4]|46[45]")
#: Leading zeros of groups are lost in numbers; without a word for it, such a list is rarely a card.
_CARD_NAMED: Final = r"(?i:card|pan\b|karte|carte|tarjeta)[^\n]{0,24}$"


def locate_listed_card(text: str, at: int) -> ValueSpan | None:
    """A card number as a list of its digits or groups, which starts here."""
    match = compiled(_LISTED).match(text, at) or compiled(_LISTED_TEXTS).match(text, at)
    if match is None:
        return None
    named = compiled(_CARD_NAMED).search(text[max(0, at - 40) : at]) is not None
    numbers = re.findall(r"\d+", match["numbers"])
    return ValueSpan(*match.span("numbers"), "CARD") if is_listed_card(numbers, named=named) else None


def is_listed_card(numbers: Sequence[str], *, named: bool) -> bool:
    """Whether numbers are the digits or groups of a card; `named` ones may have lost leading zeros."""
    lengths = "".join(str(len(number)) for number in numbers)
    if named and len(numbers) in (3, 4) and len(numbers[0]) == 4:
        numbers = [number.zfill(size) for number, size in zip(numbers, _SIZES[len(numbers)], strict=True)]
        lengths = "".join(str(len(number)) for number in numbers)
    single = len(numbers) >= 13 and set(lengths) == {"1"}
    return (single or _GROUPED.fullmatch(lengths) is not None) and is_card("".join(numbers))


_SIZES: Final = {3: (4, 6, 5), 4: (4, 4, 4, 4)}


def locate_iban(text: str, at: int) -> ValueSpan | None:
    """An IBAN starting here, ungrouped or in groups."""
    country = text[at : at + 2].upper()
    length = _IBAN_LENGTHS.get(country)
    if length is None or not compiled(LEFT + r"(?<![0-9a-f]{4}-)").match(text, at):  # a part of a uuid
        return None
    match = compiled(r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,40}").match(text, at)
    if match is None:
        return None
    taken, end = 0, at
    while taken < length and end < match.end():
        taken += text[end] not in " -"
        end += 1
    joined = match[0][: end - at].replace(" ", "").replace("-", "").upper()
    if not is_iban(joined) or compiled(r"\w").match(text, end):
        return None
    return ValueSpan(at, end, "IBAN")


# -- phone ---------------------------------------------------------------------------------------------

#: Country codes of ITU-T E.164, and the minimum number of digits that follow.
_COUNTRY: Final = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1-35689]\d|3[578]\d|42[0-9]|5[09]\d|6[789]\d|8[0578]\d|9[679]\d)"
)
_PHONE: Final = rf"\+ ?(?P<country>{_COUNTRY})(?P<rest>(?:[ .()/\t-]{{0,3}}\d){{6,13}})(?![\w])"
_DIALLED: Final = (
    rf"00(?P<country>{_COUNTRY})(?P<rest>[ .()/-]{{1,3}}\d(?:[ .()/-]{{0,3}}\d){{5,12}})(?![\w]|[.,]\d)"
)
_AMERICAN: Final = r"\([2-9]\d\d\) ?[2-9]\d\d[ .-]\d{4}(?!\w)"


def locate_phone(text: str, at: int) -> ValueSpan | None:
    """A number starting with + and a country code."""
    match = compiled(_PHONE).match(text, at)
    if match is None or (
        compiled(r"[\w+]").match(text, at - 1 if at else len(text)) and not _after_escape(text, at)
    ):
        return None
    return _dialled(match)


def _after_escape(text: str, at: int) -> bool:
    return at >= 2 and text[at - 2] == "\\" and text[at - 1] in "nrtbf"


def locate_dialled(text: str, at: int) -> ValueSpan | None:
    """A number starting with 00 and a country code, with grouped digits."""
    match = compiled(r"(?:(?<![\w.,:+-])|(?<=\\[nrtbf]))" + _DIALLED).match(text, at)
    return None if match is None else _dialled(match)


def _dialled(match: re.Match[str]) -> ValueSpan | None:
    country = match["country"]
    digits = re.sub(r"\D", "", match["rest"])
    if not 8 <= len(country + digits) <= 15 or digits.endswith("000000"):
        return None
    if country == "1" and not compiled(r"[2-9]\d{2}[2-9]\d{6}").fullmatch(digits):
        return None
    if country == "7" and len(digits) != 10:
        return None
    return ValueSpan(*match.span(), "PHONE")


def locate_american(text: str, at: int) -> ValueSpan | None:
    """A number in North American format."""
    match = compiled(_AMERICAN).match(text, at)
    return None if match is None else ValueSpan(*match.span(), "PHONE")


# -- IP addresses ---------------------------------------------------------------------------------------


def locate_ipv4(text: str, at: int) -> ValueSpan | None:
    """An IPv4 address. The anchor is the first dot of a number between two dots."""
    window = text[max(0, at - 3) : at]
    start = at - (len(window) - len(window.rstrip("0123456789")))
    match = compiled(
        r"(?:(?<![\w.+-])|(?<=\\[nrtbf])|(?<=[\w]-))(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\w)"
    ).match(text, start)
    if match is None or any(int(part) > 255 or (part[0] == "0" and part != "0") for part in match.groups()):
        return None
    first = int(match[1])
    if first in (0, 127, 255) or _is_version(text, start, match.end()):
        return None
    return ValueSpan(*match.span(), "IP_ADDRESS")


_IPV6: Final = (
    LEFT + r"(?<!\.)(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{6,39}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?!\w)"
)


#: The text before the slash of an address: a client, where a program would give its version.
_PEER: Final = r"(?i)(?:.*[^\w.-])?(?:client|server|host|localhost|peer|remote|node|addr|address|ip|inet)/"


def _is_version(text: str, start: int, end: int) -> bool:
    """Whether four numbers are a version, possibly after a program name, and without a port."""
    before = text[max(0, start - 16) : start].replace("\n", " ")
    if before.endswith("/"):
        named = compiled(r".*[A-Za-z]/").fullmatch(before) is not None
        port = compiled(r":\d{1,5}(?![\w.])").match(text, end) is not None
        return named and not port and compiled(_PEER).fullmatch(before) is None
    return (
        compiled(
            r"(?i)(?:.*[^a-z])?(?:v|ver|version|release|build|oid|section|rev)[\s\"':=.]{0,4}"
        ).fullmatch(before)
        is not None
    )


def locate_ipv6(text: str, at: int) -> ValueSpan | None:
    """An address around a colon."""
    window = text[max(0, at - 39) : at]
    start = at - (len(window) - len(window.rstrip("0123456789abcdefABCDEF:")))
    if text[start] == ":" and not text.startswith("::", start):
        start += 1  # the last letter of the preceding name
    match = compiled(_IPV6).match(text, start)
    if match is None or compiled(r"\d").search(match[0]) is None:
        return None
    value = match[0] if match[0].endswith("::") else match[0].rstrip(":")
    groups = [group for group in value.split(":") if group]
    if len(groups) < 3 and not (len(groups) == 2 and len(groups[0]) >= 3):
        return None
    import ipaddress  # costs milliseconds, and most texts have no such anchor

    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return None
    if address.is_loopback or address.is_unspecified:
        return None
    return ValueSpan(start, start + len(value), "IP_ADDRESS")


PII: Final[tuple[Detector, ...]] = (
    Detector(("EMAIL",), "pii", "e-mail addresses in any script", "raw", (b"@",), locate_email),
    Detector(
        ("PHONE",),
        "pii",
        "`+` and a country code of E.164, 8 to 15 digits",
        "shape",
        (b"+0", b"+ 0"),
        locate_phone,
    ),
    Detector(("PHONE",), "pii", "`00`, a country code, and grouped digits", "raw", (b"00",), locate_dialled),
    Detector(("PHONE",), "pii", "`(NNN) NNN-NNNN`", "shape", (b"(000) 000", b"(000)000"), locate_american),
    Detector(
        ("IP_ADDRESS",),
        "pii",
        "IPv4, except loopback and version numbers",
        "shape",
        (b".0.", b".00.", b".000."),
        locate_ipv4,
    ),
    Detector(("IP_ADDRESS",), "pii", "IPv6, except loopback", "raw", (b"::",), locate_ipv6),
    Detector(
        ("IP_ADDRESS",),
        "pii",
        "IPv6 in full notation",
        "shape",
        (b"0:0", b"A:0", b"0:A", b"A:A"),
        locate_ipv6,
    ),
)
FINANCIAL: Final[tuple[Detector, ...]] = (
    Detector(
        ("CARD",),
        "financial",
        "payment cards: issuer, length and Luhn check digit",
        "shape",
        (b"0" * 13, *_in_groups(b" ", b"-", b".")),
        locate_card,
    ),
    Detector(
        ("CARD",),
        "financial",
        "payment cards with tabs between groups or digits",
        "shape",
        _in_groups(b"\t"),
        locate_card,
        needs="\t",
    ),
    Detector(
        ("CARD",),
        "financial",
        "payment cards with two spaces between groups or digits",
        "shape",
        _in_groups(b"  "),
        locate_card,
        needs="  ",
    ),
    Detector(
        ("CARD",),
        "financial",
        "payment cards as lists of digits or groups",
        "shape",
        (b"[0", b"(0", b'["0', b"['0", b"[\\", b"[\n"),
        locate_listed_card,
    ),
    Detector(
        ("IBAN",),
        "financial",
        "IBANs: country-specific length and format, mod 97",
        "shape",
        (b"AA00",),
        locate_iban,
    ),
)
