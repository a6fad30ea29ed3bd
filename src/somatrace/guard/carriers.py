"""Secrets in what carries them: userinfo of addresses, `Bearer` and `Basic` credentials, command lines."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from somatrace.guard.detecting import LEFT, Detector, Found, compiled
from somatrace.guard.naming import looks_random, stands_elsewhere

#: user:password@host. The password may hold an @ (the last one before the host counts), not a slash.
_USERINFO: Final = r"://(?P<user>[^\s/@:\"'<>\\?#]{0,128}):(?P<password>[^\s/\"'<>\\]{1,256})@(?=[\w.\[-])"
_USER: Final = r"://(?P<user>[^\s/@:\"'<>\\?#]{16,256})@(?=[\w.\[-])"


def _userinfo(text: str, at: int) -> Found | None:
    match = compiled(_USERINFO).match(text, at)
    if match is not None:
        if stands_elsewhere(match["password"]):
            return None
        return Found(*match.span("password"), "PASSWORD")
    match = compiled(_USER).match(text, at)
    if match is not None and looks_random(match["user"], 16):
        return Found(*match.span("user"), "SECRET")
    return None


def _bearer(text: str, at: int) -> Found | None:
    match = compiled(LEFT + r"(?i:bearer)(?:[ \t]{1,4}|%20|\+)([A-Za-z0-9._~+/=-]{8,4096})").match(text, at)
    if match is None or (len(match[1]) < 24 and not any(character.isdigit() for character in match[1])):
        return None
    return Found(*match.span(1), "AUTHORIZATION")


def _basic(text: str, at: int) -> Found | None:
    """`Basic` and base64 of something with a colon."""
    match = compiled(LEFT + r"(?i:basic)(?:[ \t]{1,4}|%20|\+)([A-Za-z0-9+/_-]{6,1024}={0,2})").match(text, at)
    if match is None:
        return None
    try:
        pair = base64.b64decode(match[1].replace("-", "+").replace("_", "/") + "==")
    except (binascii.Error, ValueError):
        return None
    return Found(*match.span(1), "AUTHORIZATION") if b":" in pair and pair.isascii() else None


def _curl(text: str, at: int) -> Found | None:
    match = compiled(
        r"(?<![\w-])(?:-u|--(?:proxy-)?user)[ \t=]{1,4}\\{0,7}[\"']?[^\s:\"'\\/]{1,64}:([^\s\"'\\]{3,256})"
    ).match(text, at)
    if match is None or stands_elsewhere(match[1]):
        return None
    return Found(*match.span(1), "PASSWORD")


CARRIED: Final[tuple[Detector, ...]] = (
    Detector(
        ("PASSWORD", "SECRET"),
        "secrets",
        "the password of `scheme://user:password@host`, DSNs too; a token in the user's place",
        "raw",
        (b"://",),
        _userinfo,
    ),
    Detector(("AUTHORIZATION",), "secrets", "what follows `Bearer`", "low", (b"bearer",), _bearer),
    Detector(
        ("AUTHORIZATION",), "secrets", "`Basic` and base64 that holds a colon", "low", (b"basic",), _basic
    ),
    Detector(
        ("PASSWORD",),
        "secrets",
        "`-u user:password`, `--user user:password` of commands",
        "raw",
        (b"-u ", b"--user", b"--proxy-user"),
        _curl,
    ),
)
