"""Detect payment cards and IBANs by their check digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from somatrace.guard.detection.detectors.value_bounds import QUOTE, SPACE
from somatrace.guard.detection.engine import LEFT, Detector, ValueSpan, compiled

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
