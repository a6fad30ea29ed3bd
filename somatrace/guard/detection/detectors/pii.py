"""Detect email and IP addresses, and phone numbers with a country code."""

from __future__ import annotations

import re
from typing import Final

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
